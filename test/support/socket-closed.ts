/**
 * Waits for the end of a connection, whatever the reason. `events.once` would reject on a reset.
 */
import type { Duplex } from 'node:stream';

export function socketClosed(socket: Duplex): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on('error', () => undefined);
  if (socket.closed) resolve();
  else socket.once('close', () => resolve());
  return promise;
}
