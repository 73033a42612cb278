/**
 * Whether WebSockets get through to a site: a socket is opened, waits for the first word of the relay, and is closed
 * without having said anything.
 */
import type { Clock } from '../system/clock.ts';
import { parseControlFrame, SUBPROTOCOL } from './frames.ts';
import type { Transport } from './transport.ts';

/** Resolves with false after `withinMs` milliseconds, or when the signal aborts. */
export async function isWelcomed(
  transport: Transport,
  clock: Clock,
  origin: string,
  withinMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = transport.connect(origin, '/v1/ws', SUBPROTOCOL, {
    onText: (text) => {
      const frame = parseControlFrame(text);
      resolve(frame.ok && frame.value.t === 'welcome');
    },
    onBinary: () => resolve(false),
    onClose: () => resolve(false),
  });
  const cancel = clock.after(withinMs, () => resolve(false));
  const abort = (): void => resolve(false);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await promise;
  } finally {
    cancel();
    signal.removeEventListener('abort', abort);
    socket.close(1000);
  }
}
