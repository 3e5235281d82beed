// A client of the WebRTC API in Node: `node webrtc.mjs NAME WAV`. The WAV file, of speech at 8 kHz,
// is what its microphone hears.

import { become } from './browser.mjs';
import { serve } from './commands.mjs';

const [, , name, wav] = process.argv;
become(wav);
const { commands } = await import(`./webrtc_${name}.mjs`);
await serve(commands);
