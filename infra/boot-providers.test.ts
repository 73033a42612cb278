/**
 * What the boot script says to the providers' services: with a real curl, to a server that stands in for all of them by
 * their documentation and checks what arrives as they would. No provider has ever answered it.
 */
import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { issueServerCertificate, makeAuthority } from '../fleet/certificates.ts';
import { systemClock } from '../system/clock.ts';
import { systemRandom } from '../system/random.ts';
import { expectedSignature } from '../test/support/aws-signature.ts';
import { suiteWith } from '../test/support/programs.ts';
import { renderBoot } from './boot.ts';
import type { SiteSpec } from './site.ts';

const REGION = 'eu-central-1';
const KEYS = {
  AccessKeyId: 'ASIAIOSFODNN7EXAMPLE',
  SecretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  Token: 'IQoJb3JpZ2luX2VjEXAMPLE==',
};
const GCP_TOKEN = 'ya29.example-token';
const BUNDLE = `vote-key:${Buffer.from('the key').toString('base64')}`;

let root = '';
let servers: Server[] = [];
/** `METHOD host/path` of what was asked and found right. */
let served: string[] = [];
let archive: Buffer;

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'archipelago-boot-'));
  served = [];
  mkdirSync(join(root, 'tree'));
  archive = spawnSync('tar', ['-czf', '-', '-C', join(root, 'tree'), '.']).stdout;
  const context = { wallMs: systemClock.wallMs(), random: systemRandom };
  const authority = await makeAuthority(context);
  const names = [
    '*.amazonaws.com',
    `*.${REGION}.amazonaws.com`,
    `*.s3.${REGION}.amazonaws.com`,
    '*.googleapis.com',
  ];
  const { certificatePem, keyPem } = await issueServerCertificate(context, authority, names);
  writeFileSync(join(root, 'ca.pem'), authority.certificatePem);
  const answer = (request: IncomingMessage, response: ServerResponse): void => void serve(request, response);
  servers = [createServer(answer), createTlsServer({ cert: certificatePem, key: keyPem }, answer)];
  for (const server of servers) {
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
  }
});

afterEach(() => {
  for (const server of servers) server.close();
  rmSync(root, { recursive: true });
});

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const headers = request.headers as Readonly<Record<string, string>>;
  const { method = '', url: path = '' } = request;
  const asked = { method, path, headers, body: await text(request) };
  const found = answerTo(headers['host'] ?? '', asked);
  if (found === undefined) {
    response.writeHead(403).end();
    return;
  }
  served.push(`${method} ${headers['host']}${path}`);
  response.end(found);
}

type Asked = Parameters<typeof expectedSignature>[0];

function answerTo(host: string, asked: Asked): string | Buffer | undefined {
  if (host === '169.254.169.254') return fromMetadata(asked);
  if (host.endsWith('.amazonaws.com')) {
    const { authorization = '', 'x-amz-security-token': token } = asked.headers;
    const wanted = expectedSignature(asked, KEYS.SecretAccessKey);
    const isRight =
      wanted !== undefined &&
      authorization.includes(`Credential=${KEYS.AccessKeyId}/`) &&
      authorization.endsWith(`Signature=${wanted}`) &&
      /SignedHeaders=[\w;-]*x-amz-security-token/.test(authorization) &&
      token === KEYS.Token;
    if (!isRight) return undefined;
    // S3 wants this header of every request.
    if (host.includes('.s3.')) return 'x-amz-content-sha256' in asked.headers ? archive : undefined;
    return JSON.stringify({ ARN: 'arn', SecretString: BUNDLE });
  }
  if (asked.headers['authorization'] !== `Bearer ${GCP_TOKEN}`) return undefined;
  if (host === 'storage.googleapis.com') return archive;
  return JSON.stringify({ payload: { data: Buffer.from(BUNDLE).toString('base64') } }, null, 2);
}

/** IMDSv2 and the metadata server of Google, both at one address. */
function fromMetadata({ method, path, headers }: Asked): string | undefined {
  if (path.startsWith('/computeMetadata/v1/instance/service-accounts/default/token')) {
    if (headers['metadata-flavor'] !== 'Google') return undefined;
    return JSON.stringify({ access_token: GCP_TOKEN, expires_in: 3599, token_type: 'Bearer' });
  }
  if (path === '/latest/api/token') {
    return method === 'PUT' && headers['x-aws-ec2-metadata-token-ttl-seconds'] !== undefined
      ? 'session'
      : undefined;
  }
  if (headers['x-aws-ec2-metadata-token'] !== 'session') return undefined;
  const role = '/latest/meta-data/iam/security-credentials/';
  if (path === role) return 'aws-relay';
  return path === `${role}aws-relay` ? JSON.stringify({ Code: 'Success', ...KEYS }, null, 2) : undefined;
}

const suite = suiteWith('the providers’ services', ['curl']);
describe.skipIf(suite.skipped)(suite.title, () => {
  test('are asked in a form that AWS describes, which the checker here knows by AWS’s own example', () => {
    // "Signature Calculations for the Authorization Header", example GET Object.
    const credential = 'AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request';
    const headers = {
      host: 'examplebucket.s3.amazonaws.com',
      range: 'bytes=0-9',
      'x-amz-content-sha256': createHash('sha256').digest('hex'),
      'x-amz-date': '20130524T000000Z',
      authorization: `AWS4-HMAC-SHA256 Credential=${credential},SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=${'0'.repeat(64)}`,
    };
    const request = { method: 'GET', path: '/test.txt', headers, body: '' };
    expect(expectedSignature(request, KEYS.SecretAccessKey)).toBe(
      'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
    );
  });

  test('of AWS give the release out of the own bucket, and the secret files', async () => {
    expect(await run('aws', 'fetch_release')).toEqual({ code: 0, stderr: '' });
    expect(existsSync(releaseTree())).toBe(true);
    expect(served.at(-1)).toBe(`GET aws-release-1.s3.${REGION}.amazonaws.com/archipelago.tar.gz`);
    expect(await run('aws', 'fetch_secrets')).toEqual({ code: 0, stderr: '' });
    expect(served.at(-1)).toBe(`POST secretsmanager.${REGION}.amazonaws.com/`);
    expect(readFileSync(join(root, 'etc/archipelago/secret/vote-key'), 'utf8')).toBe('the key');
  });

  test('of Google give the release out of the own bucket, and the secret files', async () => {
    expect(await run('gcp', 'fetch_release')).toEqual({ code: 0, stderr: '' });
    expect(existsSync(releaseTree())).toBe(true);
    expect(served.at(-1)).toBe('GET storage.googleapis.com/aws-release-1/archipelago.tar.gz');
    expect(await run('gcp', 'fetch_secrets')).toEqual({ code: 0, stderr: '' });
    expect(readFileSync(join(root, 'etc/archipelago/secret/vote-key'), 'utf8')).toBe('the key');
  });
});

/** Runs one function of the script with a curl that finds every host at the server of this test. */
async function run(
  provider: 'aws' | 'gcp',
  part: string,
): Promise<{ readonly code: number; readonly stderr: string }> {
  const programs = join(root, 'programs');
  mkdirSync(programs, { recursive: true });
  const curl = spawnSync('sh', ['-c', 'command -v curl'], { encoding: 'utf8' }).stdout.trim();
  const [plain, tls] = servers.map((server) => (server.address() as AddressInfo).port);
  const words = `--cacert ${root}/ca.pem --connect-to 169.254.169.254:80:127.0.0.1:${plain} --connect-to ::127.0.0.1:${tls}`;
  const replaced = { curl: `exec ${curl} ${words} "$@"`, chown: '' };
  for (const [name, body] of Object.entries(replaced)) {
    writeFileSync(join(programs, name), `#!/bin/sh\n${body}\n`);
    chmodSync(join(programs, name), 0o755);
  }
  const script = join(root, 'boot.sh');
  writeFileSync(script, render(provider).replace("ROOT=''", `ROOT='${root}'`));
  return new Promise((resolve) => {
    const env = { PATH: `${programs}:${process.env['PATH']}`, BOOT_FUNCTION: part };
    execFile('sh', [script], { env }, (error, _, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stderr });
    });
  });
}

function render(provider: 'aws' | 'gcp'): string {
  const spec: SiteSpec = {
    name: 'aws',
    provider,
    location: REGION,
    zones: ['a', 'b'],
    relays: 2,
    relaysMax: 2,
    redisGb: 20,
    sizes: {},
  };
  const scheme = provider === 'aws' ? 's3' : 'gs';
  const secret = provider === 'aws' ? 'aws-nameserver' : 'projects/1/secrets/nameserver';
  return renderBoot({
    role: 'nameserver',
    spec,
    secretsFrom: { kind: provider, name: secret, region: REGION },
    ownRelease: `${scheme}://aws-release-1/archipelago.tar.gz`,
    options: {
      isProtected: true,
      release: { sha256: sha256(), urls: [] },
      manifestKey: 'k'.repeat(43),
      manifestVersionMin: 1,
      rolloutTimeoutS: 0,
      nameserverSettings: {},
      secrets: { relay: {}, redis: {}, nameserver: {} },
    },
  });
}

function sha256(): string {
  return createHash('sha256').update(archive).digest('hex');
}

function releaseTree(): string {
  return join(root, 'opt/archipelago/releases', sha256());
}
