// What went wrong, in words: what it is, and what to do about it.
//
// A trouble is {title, text, hints, offer}: `hints` is a list of things to try, and `offer` is what
// the button says that does one of them at once, or null.

const LISTEN = 'Call without a microphone';

export function insecure(place = location) {
  const port = place.port || (place.protocol === 'https:' ? '443' : '80');
  return {
    title: 'No microphone on this address',
    text: 'Browsers give the microphone only to https pages and to localhost, and this page came '
      + `by plain http from ${place.hostname}.`,
    hints: [
      'Serve https: set GATEWAY_HTTP_TLS_CERT and GATEWAY_HTTP_TLS_KEY, and open the page as '
        + `https://${place.host}/`,
      `Or tunnel: ssh -L ${port}:127.0.0.1:${port} ${place.hostname}, then open `
        + `http://localhost:${port}/`,
    ],
    offer: LISTEN,
  };
}

// Of what getUserMedia throws.
export function microphoneTrouble(error) {
  switch (error.name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return refused(error);
    case 'NotFoundError':
    case 'OverconstrainedError':
      return {
        title: 'No microphone found',
        text: 'This computer shows the browser no microphone.',
        hints: ['Plug one in, or switch it on in the system’s sound settings, and call again.'],
        offer: LISTEN,
      };
    case 'NotReadableError':
    case 'AbortError':
      return {
        title: 'The microphone does not answer',
        text: 'The browser may use it, but could not open it.',
        hints: [
          'Another program may hold it: a meeting in another window, say.',
          'Choose another microphone, or unplug this one and plug it in again.',
        ],
        offer: LISTEN,
      };
    default:
      return {
        title: 'The microphone could not be opened',
        text: `The browser says: ${error.name}: ${error.message}`,
        hints: [],
        offer: LISTEN,
      };
  }
}

function refused(error) {
  if (/system/i.test(error.message)) {
    return {
      title: 'The system keeps the microphone from the browser',
      text: 'You said yes here, but the operating system says no for the whole browser.',
      hints: [
        'Allow the microphone for this browser in the system’s privacy settings, and call again.',
      ],
      offer: LISTEN,
    };
  }
  if (/dismissed/i.test(error.message)) {
    return {
      title: 'The question about the microphone was closed',
      text: 'Without an answer the browser keeps the microphone to itself.',
      hints: ['Call again, and say yes when the browser asks.'],
      offer: LISTEN,
    };
  }
  return {
    title: 'The microphone was refused',
    text: 'Without it the agent cannot hear you.',
    hints: [
      'Open the site settings, by the icon at the left of the address, and allow the microphone.',
      'Then call again. Sound goes to this gateway only, and only during a call.',
    ],
    offer: LISTEN,
  };
}

// Of a failed request to place a call.
export function callTrouble(error) {
  const { status, code, message } = error;
  if (status === 0) return unreachable();
  if (code === 'webrtc_off') return phonesOnly();
  if (code === 'invalid_sdp') {
    return trouble('The offer cannot be used', quoted(error), [
      'It takes the codecs in GATEWAY_WEBRTC_CODECS, and needs encryption by DTLS.',
      'If this is a current browser, please report it with the offer from the event log.',
    ]);
  }
  if ([429, 502, 503].includes(status)) return notNow(error);
  return trouble(`The call was not taken (${status})`, quoted(error), []);
}

export function phonesOnly() {
  return trouble('This gateway takes no calls from browsers', 'It takes calls by phone only.', [
    'GATEWAY_WEBRTC_CODECS is off there: name codecs in it, as in opus,pcmu,pcma.',
  ]);
}

// Of the first request of the page, which asks what there is to call.
export function startTrouble(error) {
  if (error.status === 0) return unreachable();
  return trouble(`The gateway does not answer as it should (${error.status})`, quoted(error), [
    'If a proxy stands before it: does it pass on all paths, and is the gateway running behind it?',
    'Load the page again.',
  ]);
}

const GOING_DOWN = ['The gateway is going down', 'It is being stopped or restarted.'];
const NOT_NOW = {
  draining: GOING_DOWN,
  drain: GOING_DOWN,
  no_media_port: [
    'No media port is free',
    'Other calls or programs hold those of GATEWAY_RTP_PORT_MIN to GATEWAY_RTP_PORT_MAX: widen the range.',
  ],
  backend_unavailable: [
    'The voice agent cannot be reached',
    'Look at GATEWAY_REALTIME_URL and its key, and at the gateway’s log.',
  ],
};

function notNow(error) {
  const { status, code, retryAfter } = error;
  const busy = [
    'All lines are busy',
    'The Line tab shows who is talking; GATEWAY_CALLS_MAX says how many may.',
  ];
  const closed = ['The line takes no calls now', 'The gateway’s log tells more.'];
  const again = `Try again ${retryAfter ? `in ${retryAfter} s` : 'in a moment'}.`;
  if (!(code in NOT_NOW) && code in ENDS) {
    return trouble('The call ended before it began', `The reason: ${endReason(code)}.`, [again]);
  }
  const [title, hint] = NOT_NOW[code] ?? (status === 429 || code === 'full' ? busy : closed);
  return trouble(title, quoted(error), [hint, again]);
}

function quoted({ code, message }) {
  return code === null ? message : `The gateway says: ${message}`;
}

export function unreachable() {
  return trouble('The gateway does not answer', 'The page is here, but its server is not.', [
    'Is it still running? Start it with make run, and call again.',
  ]);
}

// The call was agreed on, and no audio got through.
export function iceTrouble(lost) {
  return trouble(
    lost ? 'The connection was lost' : 'No way for the audio',
    lost
      ? 'Nothing came through for a while: the network changed, or the gateway went away.'
      : 'The gateway took the call, but no audio packet got through between it and this browser.',
    lost
      ? ['Call again.']
      : [
          'Let UDP reach the gateway’s ports GATEWAY_RTP_PORT_MIN to GATEWAY_RTP_PORT_MAX '
            + '(by default 20000 to 29999).',
          'Behind NAT or in a container, set GATEWAY_WEBRTC_ADVERTISED_HOST to the address that '
            + 'browsers reach.',
          'Where UDP is blocked, name a TURN server in GATEWAY_WEBRTC_ICE_SERVERS.',
        ],
  );
}

export function browserTrouble(error) {
  return trouble('The browser could not start the call', `It says: ${error.message}`, []);
}

// The browser plays nothing before somebody clicks.
export function silenced() {
  return {
    title: 'The browser plays no sound yet',
    text: 'The agent is on the line, and cannot be heard.',
    hints: [],
    offer: 'Play the voice',
  };
}

function trouble(title, text, hints) {
  return { title, text, hints, offer: null };
}

// What to write beside the field for the key.
export function keyWords(error, given) {
  if (error.code === 'origin_not_allowed') {
    return `${error.message} Set GATEWAY_API_KEYS, or open this page as http://localhost.`;
  }
  if (error.status === 403) {
    return `${error.message} This page needs one of the API keys in GATEWAY_API_KEYS.`;
  }
  if (given) return 'That key was not accepted. Is it one of those in GATEWAY_API_KEYS?';
  return 'This gateway asks for one of its keys, as set in GATEWAY_API_KEYS. '
    + 'It is kept until you close this tab.';
}

const ENDS = {
  hangup: 'hung up on this side',
  remote_bye: 'the other side hung up',
  remote_cancel: 'the caller gave up',
  cancelled: 'given up',
  channel_closed: 'the browser hung up',
  peer_closed: 'the browser hung up',
  ice_failed: 'the connection was lost',
  dtls_failed: 'encryption failed',
  transferred: 'transferred',
  rejected: 'turned away',
  drain: 'the gateway was stopped',
  media_timeout: 'no audio came any more',
  max_duration: 'the longest duration was reached',
  idle: 'nobody said anything',
  ring_timeout: 'nobody took the call',
  no_decision: 'no application took the call',
  session_lost: 'the voice agent was lost',
  backend_unavailable: 'the voice agent could not be reached',
  internal_error: 'a fault of the gateway',
};

// The reason in a call's record, to stand after "Ended: ".
export function endReason(reason) {
  return ENDS[reason] ?? (reason ?? 'over').replaceAll('_', ' ');
}
