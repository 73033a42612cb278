/**
 * The life of a process: start whole, run until told to stop, release everything, let the event loop empty.
 *
 * Nobody calls process.exit(): a resource that keeps the loop alive after its release is a bug, and the backstop
 * makes it visible by ending the process with a failure.
 */
import type { Clock } from './clock.ts';
import { describeError, type Log } from './log.ts';

export interface RunOptions {
  readonly log: Log;
  readonly clock: Clock;
  /** How long a stop may take before the process is ended by force, in milliseconds. */
  readonly stopWithinMs: number;
  /**
   * Stop also when standard input ends. A supervisor that holds the other end of the pipe then takes its children
   * with it, even when it dies by SIGKILL.
   */
  readonly stopWhenStdinEnds: boolean;
}

/**
 * Runs `start` with a stack for its resources, waits until it says stop, or for SIGTERM, SIGINT or (if asked) the end of standard input,
 * and disposes of the stack, last resource first. A `start` that fails sets exit code 1 and releases what it made.
 */
export async function runUntilStopped(
  start: (
    resources: AsyncDisposableStack,
    stopped: AbortSignal,
    stop: (reason: string) => void,
  ) => Promise<void>,
  options: RunOptions,
): Promise<void> {
  const { log } = options;
  const stopping = new AbortController();
  const stop = (reason: string): void => {
    if (stopping.signal.aborted) return;
    log.info('stopping', { reason });
    stopping.abort(new Error(`stopped: ${reason}`));
  };
  const onTerm = (): void => stop('SIGTERM');
  const onInterrupt = (): void => stop('SIGINT');
  process.on('SIGTERM', onTerm).on('SIGINT', onInterrupt);
  if (options.stopWhenStdinEnds) process.stdin.on('end', () => stop('stdin ended')).resume();

  // Waiting for a signal keeps no event loop alive by itself.
  const keepAlive = setInterval(() => undefined, 2 ** 30);
  const resources = new AsyncDisposableStack();
  try {
    await start(resources, stopping.signal, stop);
    if (!stopping.signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      stopping.signal.addEventListener('abort', () => resolve(), { once: true });
      await promise;
    }
  } catch (error) {
    log.error('failed', { reason: describeError(error) });
    process.exitCode = 1;
  }
  const backstop = setTimeout(() => {
    log.error('stop took too long', { limitMs: options.stopWithinMs });
    process.exit(1);
  }, options.stopWithinMs);
  backstop.unref();
  try {
    await resources.disposeAsync();
  } catch (error) {
    log.error('release failed', { reason: describeError(error) });
    process.exitCode = 1;
  }
  clearInterval(keepAlive);
  process.off('SIGTERM', onTerm).off('SIGINT', onInterrupt);
  process.stdin.destroy();
  log.info('stopped');
}
