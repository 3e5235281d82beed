// The person who calls from a page: silent until told to speak, and with ears.

const { mediaDevices } = navigator;
const ask = mediaDevices.getUserMedia.bind(mediaDevices);
let track;

mediaDevices.getUserMedia = async (constraints) => {
  const stream = await ask(constraints);
  [track] = stream.getAudioTracks();
  track.enabled = false;
  return stream;
};

async function reports(connection, type) {
  return [...(await connection.getStats()).values()].filter((report) => report.type === type);
}

// Until audio flows; a key that is pressed before is lost on the way to nowhere.
export async function flowing(connection) {
  for (;;) {
    const [stream] = await reports(connection, 'outbound-rtp');
    if (stream?.packetsSent > 10) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// Commands for whoever has a peer connection; `connection` gives the present one.
export const person = (connection) => ({
  speak: ({ seconds }) => {
    track.enabled = true;
    setTimeout(() => (track.enabled = false), seconds * 1000);
  },
  // Energy is that of RFC 6464's full scale, squared, times seconds.
  heard: async () => {
    const [stream] = await reports(connection(), 'inbound-rtp');
    const { totalAudioEnergy, packetsReceived, packetsLost } = stream ?? {};
    return { energy: totalAudioEnergy, packets: packetsReceived, lost: packetsLost };
  },
  // RFC 4733, which only browsers have.
  press: async ({ keys }) => {
    await flowing(connection());
    connection().getSenders()[0].dtmf.insertDTMF(keys, 100, 70);
  },
});
