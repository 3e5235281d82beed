// The calls now on the line and those that ended lately, with hang up and transfer.

import { announce, byId, element, icon, setText, show } from './dom.js';
import { clock, percent } from './format.js';
import { endReason } from './words.js';

const EVERY_MS = 2000;
const MOST_CALLS = 50;

const STATES = {
  incoming: 'Arriving',
  ringing: 'Ringing',
  connecting: 'Connecting',
  answering: 'Answering',
  active: 'Talking',
  transferring: 'Being transferred',
  bridged: 'Talking to somebody else',
  ended: 'Ended',
};

export class Line {
  #api;
  #needKey;
  #ownCall;
  #timer = null;
  #shown = false;
  #rows = new Map(); // by call id: {row, draw, call, at}
  #ordering = null; // {kind, id} of the question that is open

  // `ownCall` returns the id of the call of this page.
  constructor(api, needKey, ownCall) {
    this.#api = api;
    this.#needKey = needKey;
    this.#ownCall = ownCall;
    document.addEventListener('visibilitychange', () => this.#run());
    byId('order').addEventListener('submit', (event) => this.#decided(event));
    byId('order-cancel').addEventListener('click', () => byId('order').close());
    setInterval(() => this.#drawTimes(), 1000);
  }

  // Asks for the calls only while somebody looks.
  visible(shown) {
    this.#shown = shown;
    this.#run();
  }

  #run() {
    clearTimeout(this.#timer);
    if (this.#shown && !document.hidden) this.#refresh();
  }

  async #refresh() {
    clearTimeout(this.#timer);
    try {
      const [page, refusal] = await Promise.all([this.#api.calls(MOST_CALLS), this.#api.refusal()]);
      this.#draw(page.data);
      this.#status(refusal);
    } catch (error) {
      if (error.status === 401 || error.status === 403) {
        this.#needKey(error);
        this.#stale('The gateway asks for a key.');
        return; // whoever gives it calls `visible` again
      }
      this.#stale(`${error.message} Asking again every 2 s.`);
    }
    clearTimeout(this.#timer); // of another request that was under way
    if (this.#shown && !document.hidden) this.#timer = setTimeout(() => this.#refresh(), EVERY_MS);
  }

  #stale(text) {
    setText(byId('line-status'), text);
    byId('line-status').dataset.tone = 'error';
    byId('calls').dataset.stale = 'true';
  }

  #status(refusal) {
    const words = { draining: 'is being stopped and takes no more calls', full: 'is full' };
    const live = [...this.#rows.values()].filter(({ call }) => call.state !== 'ended').length;
    const talk = live === 1 ? '1 call on the line' : `${live} calls on the line`;
    const state = refusal
      ? `The gateway ${words[refusal] ?? `takes no calls now (${refusal.replaceAll('_', ' ')})`}`
      : 'Ready for calls';
    setText(byId('line-status'), `${state}. ${talk}.`);
    byId('line-status').dataset.tone = refusal ? 'warn' : 'good';
    byId('calls').dataset.stale = 'false';
  }

  // Rows are kept, so that neither the focus nor a selection is lost every two seconds.
  #draw(calls) {
    const at = performance.now();
    const gone = new Set(this.#rows.keys());
    let before = null;
    for (const call of calls) {
      gone.delete(call.id);
      let known = this.#rows.get(call.id);
      if (!known) {
        known = this.#row();
        this.#rows.set(call.id, known);
      }
      Object.assign(known, { call, at });
      known.draw(call, call.id === this.#ownCall());
      place(known.row, before);
      before = known.row;
    }
    for (const id of gone) {
      this.#rows.get(id).row.remove();
      this.#rows.delete(id);
    }
    show(byId('calls'), calls.length > 0);
    show(byId('calls-none'), calls.length === 0);
    this.#drawTimes();
  }

  #drawTimes() {
    for (const { call, at, duration } of this.#rows.values()) {
      const running = call.answered_at !== null && call.state !== 'ended';
      const seconds = call.duration_s + (running ? (performance.now() - at) / 1000 : 0);
      setText(duration, call.answered_at === null ? '–' : clock(seconds));
    }
  }

  #row() {
    const hangUp = action('hangup', 'Hang up', () => this.#ask('hangup', known.call));
    const transfer = action('transfer', 'Transfer', () => this.#ask('transfer', known.call));
    const cells = Object.fromEntries(COLUMNS.map(([name, label]) => [name, cell(name, label)]));
    cells.actions.append(element('div', {}, transfer, hangUp));
    const [from, to] = [element('span'), element('span')];
    cells.parties.append(from, ' ', to);
    const row = element('tr', { role: 'row' }, ...Object.values(cells));
    const known = {
      row,
      duration: cells.duration,
      draw: (call, own) => {
        row.dataset.state = call.state;
        drawCells(cells, call);
        setText(from, `${address(call.from) || 'A browser'}${own ? ' (this page)' : ''}`);
        setText(to, `→ ${address(call.to) || 'the agent'}`);
        const who = nameOf(call);
        hangUp.setAttribute('aria-label', `Hang up ${who}`);
        transfer.setAttribute('aria-label', `Transfer ${who}`);
        show(hangUp, call.state !== 'ended');
        show(transfer, call.leg === 'sip' && call.state === 'active');
      },
    };
    return known;
  }

  // Hanging up and transferring are done to people: both are asked about.
  #ask(kind, call) {
    this.#ordering = { kind, id: call.id };
    const transfer = kind === 'transfer';
    setText(byId('order-title'), transfer ? 'Transfer the call' : 'Hang up the call');
    setText(byId('order-text'), `${nameOf(call)}, on the line for ${clock(call.duration_s)}.`);
    setText(byId('order-go-label'), transfer ? 'Transfer' : 'Hang up');
    byId('order').dataset.kind = kind;
    byId('order-target').required = transfer;
    show(byId('order-target-row'), transfer);
    setText(byId('order-error'), '');
    byId('order').showModal();
    (transfer ? byId('order-target') : byId('order-go')).focus();
  }

  async #decided(event) {
    event.preventDefault();
    const { kind, id } = this.#ordering;
    const target = byId('order-target').value.trim();
    byId('order-go').disabled = true;
    setText(byId('order-error'), '');
    try {
      await (kind === 'transfer' ? this.#api.refer(id, target) : this.#api.hangUp(id));
      byId('order').close();
      announce(kind === 'transfer' ? 'The transfer is under way.' : 'Hung up.');
      this.#run();
    } catch (error) {
      setText(byId('order-error'), refusalWords(error));
    } finally {
      byId('order-go').disabled = false;
    }
  }
}

const COLUMNS = [
  ['state', 'State'],
  ['parties', 'From → to'],
  ['leg', 'Leg'],
  ['duration', 'Duration'],
  ['codec', 'Codec'],
  ['loss', 'Loss'],
  ['jitter', 'Jitter'],
  ['mos', 'MOS'],
  ['turns', 'Turns'],
  ['bargeins', 'Interruptions'],
  ['actions', 'Actions'],
];

function cell(name, label) {
  return element('td', { role: 'cell', class: name, 'data-label': label });
}

function action(name, label, act) {
  const words = element('span', { text: label });
  return element('button', { type: 'button', class: `small ${name}`, onclick: act }, icon(name), words);
}

function drawCells(cells, call) {
  const { counters } = call;
  const known = call.answered_at !== null;
  const heard = counters.rtp_received + counters.rtp_lost;
  setText(cells.state, stateWords(call));
  const outbound = call.direction === 'outbound';
  cells.parties.title = call.id;
  setText(cells.leg, `${call.leg === 'sip' ? 'SIP' : 'WebRTC'} ${outbound ? 'out' : 'in'}`);
  setText(cells.codec, known ? codecWords(call) : '–');
  setText(cells.loss, heard ? percent(counters.rtp_lost / heard) : '–');
  setText(cells.jitter, heard ? `${counters.jitter_ms.toFixed(1)} ms` : '–');
  const mos = heard ? counters.mos : null;
  setText(cells.mos, mos === null ? '–' : `${mos.toFixed(1)} ${quality(mos)}`);
  cells.mos.dataset.quality = mos === null ? '' : quality(mos);
  setText(cells.turns, String(counters.turns));
  setText(cells.bargeins, String(counters.bargeins));
}

function stateWords({ state, reason, sip_status: status, transfer }) {
  if (state === 'ended') return `Ended: ${endReason(reason)}${status ? ` (${status})` : ''}`;
  if (transfer && state === 'active') {
    return `Talking; transfer: ${transfer.result.replaceAll('_', ' ')}`;
  }
  return STATES[state] ?? state;
}

function codecWords({ codec, media_security: security }) {
  const name = codec === 'opus' ? 'Opus' : (codec ?? '–').toUpperCase();
  return security && security !== 'rtp' ? `${name}, ${security.toUpperCase()}` : name;
}

// As people rate calls (ITU-T G.107, annex B).
function quality(mos) {
  return mos >= 4 ? 'good' : mos >= 3.6 ? 'fair' : 'poor';
}

function nameOf({ direction, from, to, id }) {
  return address(direction === 'outbound' ? to : from) || id;
}

// Whoever reads it knows that it is SIP.
function address(uri) {
  return (uri ?? '').replace(/^sips?:/, '');
}

function refusalWords({ status, code, message }) {
  if (status === 0) return 'The gateway does not answer. Try again.';
  if (code === 'call_id_not_found') return 'That call is over.';
  if (code === 'transfer_in_progress') return 'Another transfer of this call is under way.';
  return message;
}

function place(row, before) {
  const body = byId('calls-body');
  const wanted = before ? before.nextElementSibling : body.firstElementChild;
  if (wanted !== row) body.insertBefore(row, wanted);
}
