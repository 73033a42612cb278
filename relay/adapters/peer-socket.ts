/**
 * Frames of the peer protocol out of a byte stream, with a limit on each and no trust in any.
 */
import type { Duplex } from 'node:stream';
import { FRAME_BYTES_MAX, type PeerFrame, parsePeerFrame } from '../core/peer-frame.ts';

/**
 * Writes frames of one turn of the event loop together: each write of a TLS socket is a record and a system call.
 * The returned function takes the bytes of one frame.
 */
export function writePeerFrames(socket: Duplex): (frame: Uint8Array) => void {
  let isCorked = false;
  const uncork = (): void => {
    isCorked = false;
    socket.uncork();
  };
  return (frame) => {
    if (!isCorked) {
      isCorked = true;
      socket.cork();
      process.nextTick(uncork);
    }
    socket.write(frame);
  };
}

/**
 * Calls `onFrame` for each frame; when that gives false, or a frame is malformed or too large, the connection is
 * destroyed: after a framing error nothing that follows can be believed.
 */
export function readPeerFrames(socket: Duplex, onFrame: (frame: PeerFrame) => boolean): void {
  let chunks: Buffer[] = [];
  let buffered = 0;
  /** Bytes of the frame at the head, its length field included; 4 until the field is there. */
  let needed = 4;

  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    buffered += chunk.length;
    while (buffered >= needed && !socket.destroyed) {
      const all = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
      const length = all.readUInt32BE(0);
      if (length < 5 || length > FRAME_BYTES_MAX) {
        socket.destroy(new Error('peer frame of impossible length'));
        return;
      }
      chunks = [all];
      needed = 4 + length;
      if (buffered < needed) return;
      const frame = parsePeerFrame(all.subarray(4, needed));
      const rest = all.subarray(needed);
      chunks = rest.length === 0 ? [] : [rest];
      buffered = rest.length;
      needed = 4;
      if (!frame.ok || !onFrame(frame.value)) {
        socket.destroy(new Error('malformed peer frame'));
        return;
      }
    }
  });
}
