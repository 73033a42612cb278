/**
 * The body of a request, read from the socket with a hard limit that trusts no header. A sender that lies about
 * its length, sends chunks for ever or stops half-way gets a name for it.
 */
import type { IncomingMessage } from 'node:http';
import { fail, ok, type Result } from '../../system/result.ts';

export type BodyFault = 'body_too_large' | 'body_incomplete';

/** At most `bytesMax` bytes. Never rejects; reading stops at the first byte too many. */
export function readBody(request: IncomingMessage, bytesMax: number): Promise<Result<Buffer, BodyFault>> {
  const { promise, resolve } = Promise.withResolvers<Result<Buffer, BodyFault>>();
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) {
    resolve(fail('body_too_large'));
    return promise;
  }
  if (request.destroyed) {
    // It went while the relay looked at something else; no event will tell of it any more.
    resolve(fail('body_incomplete'));
    return promise;
  }
  const chunks: Buffer[] = [];
  let length = 0;
  const finish = (result: Result<Buffer, BodyFault>): void => {
    request.off('data', onData).off('end', onEnd).off('error', onBroken).off('close', onBroken);
    resolve(result);
  };
  const onData = (chunk: Buffer): void => {
    length += chunk.length;
    if (length > bytesMax) {
      request.pause();
      finish(fail('body_too_large'));
    } else chunks.push(chunk);
  };
  const onEnd = (): void =>
    finish(ok(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)));
  const onBroken = (): void => finish(fail('body_incomplete'));
  request.on('data', onData).on('end', onEnd).on('error', onBroken).on('close', onBroken);
  return promise;
}

/**
 * Reads what is left of a body and forgets it. Resolves at its end, after `bytesMax` bytes, when nothing came for
 * `quietMs` milliseconds, or when the connection is gone. Never rejects.
 */
export function passOver(request: IncomingMessage, bytesMax: number, quietMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (request.destroyed) {
    resolve();
    return promise;
  }
  let left = bytesMax;
  const onData = (chunk: Buffer): void => {
    left -= chunk.length;
    timer.refresh();
    if (left < 0) finish();
  };
  const finish = (): void => {
    clearTimeout(timer);
    request.off('data', onData).off('end', finish).off('error', finish).off('close', finish);
    request.pause();
    resolve();
  };
  const timer = setTimeout(finish, quietMs);
  request.on('data', onData).on('end', finish).on('error', finish).on('close', finish).resume();
  return promise;
}
