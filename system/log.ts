/**
 * Structured log: one JSON object a line, for machines first.
 *
 * The fields are scalars that the caller named; there is no way to hand in an object, so a request, a token or an
 * address of a person cannot slip in whole. `mono` is the monotonic clock, so lines of several processes of one
 * machine can be put in order.
 */
import type { Clock } from './clock.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

const ORDER: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

export interface LogOptions {
  readonly clock: Clock;
  /** Fields that every line carries, such as the service and the site. */
  readonly base: LogFields;
  readonly level: LogLevel;
  /** Where a line goes, without its line feed. */
  readonly write: (line: string) => void;
}

/** A log of the lines of `options.level` and above; `options.write` gets each without its line feed. */
export function createLog(options: LogOptions): Log {
  const line =
    (level: LogLevel) =>
    (event: string, fields: LogFields = {}): void => {
      if (ORDER[level] < ORDER[options.level]) return;
      options.write(
        JSON.stringify({
          time: new Date(options.clock.wallMs()).toISOString(),
          mono: Math.round(options.clock.monotonicMs() * 1000) / 1000,
          level,
          event,
          ...options.base,
          ...fields,
        }),
      );
    };
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
}

/** A line on standard output, the place where supervisors collect logs. */
export function writeToStdout(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** What may be told of an unknown error: its name and message, on one line, bounded. */
export function describeError(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.replaceAll(/\s+/g, ' ').slice(0, 300);
}
