/**
 * Symptoms: questions whose answers prove that a fault is effective, asked from outside of what it hit.
 */
import { describeError } from '../../../system/log.ts';
import type { LocalFleet } from '../../local/fleet.ts';
import { askPrivate } from '../../local/private-http.ts';
import { askRedis } from '../../local/redis.ts';
import type { LocalSite } from '../../local/site.ts';

const PATIENCE_MS = 500;

/** Its relay has a listening port and answers nothing. */
export async function relayHangs({ ports }: LocalFleet, site: LocalSite): Promise<boolean> {
  try {
    await askPrivate(site.layout.relayAddress, ports.private, '/livez', PATIENCE_MS);
    return false;
  } catch (error) {
    return !describeError(error).includes('ECONNREFUSED');
  }
}

/** What its Redis replies to a command: the first line of it, or the text of its refusal, or that it is silent. */
export async function redisReply(site: LocalSite, command: string): Promise<string> {
  if (site.redis === undefined) throw new Error(`${site.layout.name} has no Redis`);
  try {
    return await askRedis(site.redis, command, PATIENCE_MS);
  } catch (error) {
    return describeError(error);
  }
}
