/** Whom an authority may ask has the challenge; who is not there is not waited for. */
import { expect, test } from 'vitest';
import { fail, ok } from '../../system/result.ts';
import { createFakeClock } from '../../test/support/fake-clock.ts';
import { publishEverywhere } from './publication.ts';

const VALUES = new Map([
  ['relay.test', ['a']],
  ['aws.relay.test', ['b']],
]);
const SITE = { zone: 'relay.test', site: 'aws', staleMs: 6000 };

/** Publishes to nameservers of which some take it only after so many tries. */
async function publish(takesAfter: Readonly<Record<string, number>>, heard: () => readonly string[]) {
  const clock = createFakeClock();
  const texts: string[] = [];
  const publisher = {
    heard,
    publish: async (text: string) => {
      texts.push(text);
      const missing = Object.keys(takesAfter).filter((name) => (takesAfter[name] ?? 0) >= texts.length);
      return ok({ missing });
    },
  };
  const signal = new AbortController().signal;
  const done = publishEverywhere(VALUES, SITE, { publisher, clock, signal }).then(
    () => 'published',
    (error: Error & { fault?: string }) => `${error.fault}: ${error.message}`,
  );
  await clock.advance(20_000);
  return { outcome: await done, texts };
}

test('each name has its values, at once when all take them', async () => {
  const { outcome, texts } = await publish({ gcp: 0 }, () => ['gcp']);
  expect(outcome).toBe('published');
  expect(texts).toEqual(['{"zone":["a"],"site":["b"]}']);
});

test('one that is heard is tried again, once a second', async () => {
  expect((await publish({ gcp: 14 }, () => ['gcp'])).outcome).toBe('published');
  expect(await publish({ gcp: 15, hetzner: 0 }, () => ['gcp', 'hetzner'])).toMatchObject({
    outcome: 'not_published: gcp did not take the challenge',
    texts: { length: 15 },
  });
});

test('one that is not heard is not waited for, also when it falls silent meanwhile', async () => {
  expect((await publish({ gcp: 99 }, () => ['hetzner'])).texts).toHaveLength(1);
  let looks = 0;
  const fallsSilent = (): readonly string[] => {
    looks += 1;
    return looks < 3 ? ['gcp'] : [];
  };
  expect((await publish({ gcp: 99 }, fallsSilent)).texts).toHaveLength(3);
});

test('what the own nameserver refuses is not published, until it takes it', async () => {
  const clock = createFakeClock();
  let tries = 0;
  const publisher = {
    heard: () => [],
    publish: async () => {
      tries += 1;
      return tries < 3 ? fail('not_serving') : ok({ missing: [] });
    },
  };
  const context = { publisher, clock, signal: new AbortController().signal };
  const done = publishEverywhere(VALUES, SITE, context);
  await clock.advance(8000);
  await done;
  expect(tries).toBe(3);
});

test('an authority is asked only when no resolver has what was there before', async () => {
  const clock = createFakeClock();
  const publisher = { heard: () => [], publish: async () => ok({ missing: [] }) };
  const context = { publisher, clock, signal: new AbortController().signal };
  let isDone = false;
  const done = (async () => {
    await publishEverywhere(VALUES, SITE, context);
    isDone = true;
  })();
  await clock.advance(5999);
  expect(isDone).toBe(false);
  await clock.advance(1);
  await done;
});
