/**
 * Questions to the private port of a relay or a vantage: is it ready, what does it count, what does it believe.
 */
import { get } from 'node:http';
import type { Clock } from '../../system/clock.ts';
import { describeError } from '../../system/log.ts';
import type { RunningProcess } from './processes.ts';

export interface PrivateReply {
  readonly status: number;
  readonly body: string;
}

const REPLY_BYTES_MAX = 4 * 1024 * 1024;

/** GET over plain HTTP; rejects when there is no whole reply within `timeoutMs` milliseconds. */
export async function askPrivate(
  host: string,
  port: number,
  path: string,
  timeoutMs: number,
): Promise<PrivateReply> {
  const { promise, resolve, reject } = Promise.withResolvers<PrivateReply>();
  const request = get(
    { host, port, path, agent: false, signal: AbortSignal.timeout(timeoutMs) },
    (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
        if (body.length > REPLY_BYTES_MAX) response.destroy(new Error('the reply is too long'));
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      response.on('error', reject);
    },
  );
  request.on('error', reject);
  return await promise;
}

/** Resolves once `/readyz` is 200. Rejects with its last reason when the process ends or `withinMs` has passed. */
export async function untilReady(
  running: RunningProcess,
  host: string,
  port: number,
  clock: Clock,
  withinMs: number,
): Promise<void> {
  const deadlineMs = clock.monotonicMs() + withinMs;
  let last = 'it never answered';
  while (running.isRunning()) {
    try {
      const reply = await askPrivate(host, port, '/readyz', 1000);
      if (reply.status === 200) return;
      last = `${reply.status} ${reply.body.slice(0, 200)}`;
    } catch (error) {
      last = describeError(error);
    }
    if (clock.monotonicMs() > deadlineMs) {
      throw new Error(`${running.name} is not ready after ${withinMs / 1000} s: ${last}`);
    }
    await clock.sleep(50);
  }
  // Whoever watches its end knows more about it, and is to be heard first.
  await running.ended;
  throw new Error(`${running.name} ended before it was ready`);
}

/** The values of one metric in Prometheus text, by the value of its only label ('' when it has none). */
export function metricValues(text: string, name: string): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (!line.startsWith(name)) continue;
    const match = /^[a-zA-Z_:][\w:]*(?:\{[^=}]*="([^"]*)"\})? (\S+)/.exec(line);
    const rest = line.charAt(name.length);
    if (match !== null && (rest === '{' || rest === ' ')) values.set(match[1] ?? '', Number(match[2]));
  }
  return values;
}
