/**
 * AWS Signature Version 4 as whoever receives a request checks it, written from AWS's description and not from any
 * client: the request is put in canonical form, and signed again with the secret key.
 */
import { createHash, createHmac } from 'node:crypto';

export interface SignedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * The signature that the request should carry, hex; undefined when its `Authorization` header is not of this kind. Only
 * for requests without a query.
 */
export function expectedSignature(request: SignedRequest, secretKey: string): string | undefined {
  const { authorization = '' } = request.headers;
  const [, day = '', region = '', service = '', names = ''] =
    /^AWS4-HMAC-SHA256 Credential=[^/]+\/(\d{8})\/([\w-]+)\/(\w+)\/aws4_request, ?SignedHeaders=([\w;-]+), ?Signature=[0-9a-f]{64}$/.exec(
      authorization,
    ) ?? [];
  if (names === '') return undefined;
  const headers = names.split(';').map((name) => `${name}:${(request.headers[name] ?? '').trim()}\n`);
  const payload = request.headers['x-amz-content-sha256'] ?? sha256(request.body);
  const canonical = [request.method, request.path, '', headers.join(''), names, payload].join('\n');
  const scope = `${day}/${region}/${service}/aws4_request`;
  const text = ['AWS4-HMAC-SHA256', request.headers['x-amz-date'], scope, sha256(canonical)].join('\n');
  const key = [day, region, service, 'aws4_request'].reduce<Buffer>(
    (parent, word) => hmac(parent, word),
    Buffer.from(`AWS4${secretKey}`),
  );
  return hmac(key, text).toString('hex');
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
