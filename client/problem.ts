/**
 * What a refusal says: its `code` in `application/problem+json` (RFC 9457), as docs/protocol.md lists them, whether
 * it is the last word, and when to ask again.
 */

/** Statuses of 400 to 499 that say "not now" rather than "no" (RFC 9110 §15.5.9, RFC 8470, RFC 6585). */
const PASSING_STATUSES: readonly number[] = [408, 425, 429];

/** Whether the same request would be refused everywhere and for ever. */
export function isFinal(status: number): boolean {
  return status >= 400 && status < 500 && !PASSING_STATUSES.includes(status);
}

/** An empty text when there is no well-formed code. Never throws. */
export function problemCode(body: Uint8Array): string {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(body));
  } catch {
    return '';
  }
  const code: unknown =
    typeof value === 'object' && value !== null && 'code' in value ? value.code : undefined;
  return typeof code === 'string' && /^[a-z_]{1,64}$/.test(code) ? code : '';
}

/** What all three forms of RFC 9110 §5.6.7 have in common. */
const HTTP_DATE = /^[A-Z][a-z]{2,8},? .*\d\d:\d\d:\d\d/;

/** Milliseconds to wait according to `Retry-After` (RFC 9110 §10.2.3), 0 when there is no such word. */
export function retryAfterMs(value: string | undefined, wallMs: number): number {
  if (value === undefined) return 0;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  // Left alone, `Date.parse` takes "-5" for the first of May 2001.
  const atMs = HTTP_DATE.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(atMs) ? 0 : Math.max(0, atMs - wallMs);
}
