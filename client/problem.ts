/**
 * The `code` of a refusal in `application/problem+json` (RFC 9457), as docs/protocol.md lists them.
 */

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
