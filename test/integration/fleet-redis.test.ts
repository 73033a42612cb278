/**
 * The Redis of a site of a local fleet starts as that of a machine in a cloud does: without a file that it cannot read.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { breakFraming } from '../../fleet/drill/faults/append-only-file.ts';
import { createFleet } from '../../fleet/local/fleet.ts';
import { askRedis, type RedisPlace } from '../../fleet/local/redis.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';
import { redisMissing } from '../support/redis-server.ts';

const MINUTE_MS = 60_000;
const ASK_MS = 2000;
const reason = redisMissing === undefined ? '' : ` (skipped: ${redisMissing})`;

test.skipIf(redisMissing !== undefined)(
  `sets its file aside, and starts empty${reason}`,
  {
    timeout: MINUTE_MS,
  },
  async () => {
    const ends: string[] = [];
    await using fleet = await createFleet({
      store: 'redis',
      relayPort: undefined,
      release: undefined,
      programs: {},
      clock: systemClock,
      random: systemRandom,
      onUnexpectedEnd: (what) => ends.push(what),
      onVantageLine: () => undefined,
    });
    const site = fleet.site('aws');
    const redis = site.part('redis');
    const place: RedisPlace = site.redis ?? expect.unreachable('no Redis');
    await redis.start();
    for (let key = 0; key < 50; key += 1) await askRedis(place, `SET key${key} value`, ASK_MS);
    await redis.kill();
    await redis.start();
    expect(await askRedis(place, 'DBSIZE', ASK_MS)).toBe(':50');
    await redis.kill();
    breakFraming(place);
    await redis.start();
    expect(await askRedis(place, 'DBSIZE', ASK_MS)).toBe(':0');
    expect(existsSync(join(place.directory, 'damaged'))).toBe(true);
    // What is written from then on is kept.
    await askRedis(place, 'SET kept value', ASK_MS);
    await redis.kill();
    await redis.start();
    expect(await askRedis(place, 'DBSIZE', ASK_MS)).toBe(':1');
    expect(ends).toEqual([]);
  },
);
