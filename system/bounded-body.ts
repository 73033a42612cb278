/**
 * The body of an HTTP message that somebody else wrote, read whole and never further than a limit.
 */
import type { Readable } from 'node:stream';

/** Resolves with all bytes; rejects with an Error once there are more than `bytesMax`, and when the stream breaks. */
export async function readBounded(body: Readable, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new Error('the answer is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
