/**
 * What may be asked at each address of the public port. A wrong method is told from a wrong address: somebody who looks at
 * a push URL with a GET and reads 404 takes it for one that is gone, and deletes the subscription.
 */

const READ = 'GET, HEAD';
const ADDRESSES: readonly (readonly [RegExp, string])[] = [
  [/^\/p\/[^/]+$/, 'POST'],
  [/^\/m\/[^/]+$/, 'DELETE'],
  [/^\/v1\/(?:push-urls|revocations|acks)$/, 'POST'],
  [/^\/(?:v1\/info|v1\/messages|readyz)$/, READ],
  [/^\/v1\/ws$/, 'GET'],
];

/** The methods that there are at a path, as `Allow` has them (RFC 9110 §10.2.1); undefined where there is nothing. */
export function methodsAt(path: string): string | undefined {
  return ADDRESSES.find(([address]) => address.test(path))?.[1];
}
