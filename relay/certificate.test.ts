/** The certificate that clients are shown: what replaces it, what does not, and what is told. */
import { rmSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { issueServerCertificate, makeAuthority } from '../fleet/certificates.ts';
import { createLog } from '../system/log.ts';
import { createMetrics } from '../system/metrics.ts';
import { seededRandom, systemRandom } from '../system/random.ts';
import { fail, ok } from '../system/result.ts';
import type { CertificatePair } from '../system/server-certificate.ts';
import { createFakeClock } from '../test/support/fake-clock.ts';
import { certificateFiles } from './adapters/certificate-files.ts';
import { type CertificateSource, createCertificateWatch, createShownCertificate } from './certificate.ts';
import { createCertificateEvents } from './certificate-events.ts';

const WALL_MS = 1_800_000_000_000;
const context = { wallMs: WALL_MS, random: systemRandom };
const authority = await makeAuthority(context);
const [first, second, foreign] = [
  await issue('relay.test'),
  await issue('relay.test'),
  await issue('other.test'),
];
const directory = await mkdtemp(join(tmpdir(), 'relay-certificate-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function issue(name: string): Promise<CertificatePair> {
  const { certificatePem, keyPem } = await issueServerCertificate(context, authority, [name]);
  return { chainPem: certificatePem, keyPem };
}

/** A watch over a source, and what it told. */
function setUp(source: CertificateSource) {
  const clock = createFakeClock(WALL_MS);
  const metrics = createMetrics('relay_');
  const lines: string[] = [];
  const log = createLog({ clock, base: {}, level: 'info', write: (line) => lines.push(line) });
  const shown = createShownCertificate();
  const changes: string[] = [];
  shown.onChange(({ chainPem }) => changes.push(chainPem));
  const watch = createCertificateWatch({
    source,
    shown,
    names: () => ['relay.test'],
    clock,
    random: seededRandom(1),
    events: createCertificateEvents(metrics, log, () => clock.wallMs()),
  });
  const told = (event: string): number => lines.filter((line) => line.includes(`"${event}"`)).length;
  return { clock, metrics, lines, shown, changes, watch, told };
}

/** A source that has whatever a test put there, and remembers what it was to keep. */
function place(initial: CertificatePair | undefined) {
  let there = initial;
  const kept: CertificatePair[] = [];
  const source: CertificateSource = {
    everyMs: { without: 1000, with: 60_000 },
    look: async () => (there === undefined ? fail({ fault: 'none_yet', detail: 'none' }) : ok(there)),
    keep: async (pair) => void kept.push(pair),
  };
  return { source, kept, put: (pair: CertificatePair | undefined) => (there = pair) };
}

test('a certificate is shown when it is there, kept, and replaced by the next one', async () => {
  const { source, kept, put } = place(undefined);
  const { clock, shown, watch, changes, metrics, told } = setUp(source);
  await watch.look();
  expect(shown.current()).toBeUndefined();
  expect(await metrics.text()).toContain('relay_certificate_seconds_left 0\n');
  const stopping = new AbortController();
  const running = watch.run(stopping.signal);
  await clock.advance(5000);
  expect(told('certificate not taken')).toBe(1);
  put(first);
  await clock.advance(1500);
  expect(shown.current()?.chainPem).toBe(first.chainPem);
  put(second);
  await clock.advance(29_000);
  expect(changes).toEqual([first.chainPem]);
  await clock.advance(61_000);
  expect(changes).toEqual([first.chainPem, second.chainPem]);
  expect(kept).toEqual([first, second]);
  expect(await metrics.text()).toMatch(/relay_certificate_seconds_left 604\d\d\d\n/);
  stopping.abort(new Error('done'));
  await running;
});

test('asked to look, it does not wait', async () => {
  const { source, put } = place(first);
  const { clock, shown, watch } = setUp(source);
  await watch.look();
  const stopping = new AbortController();
  const running = watch.run(stopping.signal);
  await clock.settle();
  put(second);
  watch.lookNow();
  await clock.settle();
  expect(shown.current()?.chainPem).toBe(second.chainPem);
  stopping.abort(new Error('done'));
  await running;
});

test('what does not fit leaves the one that is shown, and is told once', async () => {
  const { source, kept, put } = place(first);
  const { shown, watch, told, metrics } = setUp(source);
  await watch.look();
  put(foreign);
  await watch.look();
  await watch.look();
  put({ chainPem: second.chainPem, keyPem: first.keyPem });
  await watch.look();
  expect(shown.current()?.chainPem).toBe(first.chainPem);
  expect(kept).toEqual([first]);
  expect(told('certificate not taken')).toBe(2);
  expect(await metrics.text()).toContain('relay_certificate_looks_total{outcome="wrong"} 3\n');
});

test('an end that is near is told every hour, and an expired certificate stays', async () => {
  const { source } = place(first);
  const { clock, shown, watch, told } = setUp(source);
  await watch.look();
  await clock.advance(5 * 86_400_000);
  await watch.look();
  expect(told('certificate ends soon')).toBe(0);
  await clock.advance(86_400_000);
  await watch.look();
  await watch.look();
  expect(told('certificate ends soon')).toBe(1);
  await clock.advance(2 * 86_400_000);
  await watch.look();
  expect(told('certificate expired')).toBe(1);
  expect(shown.current()?.chainPem).toBe(first.chainPem);
});

test('one that cannot be kept is shown all the same, loudly', async () => {
  const { source } = place(first);
  const { shown, watch, told } = setUp({ ...source, keep: () => Promise.reject(new Error('disk full')) });
  await watch.look();
  expect(shown.current()?.chainPem).toBe(first.chainPem);
  expect(told('certificate not kept')).toBe(1);
});

test('two files are taken together, and only when they belong together', async () => {
  const [chain, key] = [join(directory, 'chain.pem'), join(directory, 'key.pem')];
  const { shown, watch, metrics } = setUp(certificateFiles(chain, key));
  await watch.look();
  expect(await metrics.text()).toContain('relay_certificate_looks_total{outcome="unreadable"} 1\n');
  writeFileSync(chain, first.chainPem);
  writeFileSync(key, first.keyPem);
  await watch.look();
  writeFileSync(chain, second.chainPem);
  await watch.look();
  expect(shown.current()?.chainPem).toBe(first.chainPem);
  writeFileSync(key, second.keyPem);
  await watch.look();
  expect(shown.current()?.chainPem).toBe(second.chainPem);
});
