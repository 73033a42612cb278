/** The table of the vantages, where something else is at the place that was named. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { createOperators } from '../../test/support/operators.ts';

test.each(['{}', 'null', '[1]', '{"site":"aws"}', 'not found'])(
  'what answers %s is no vantage, and is said not to answer',
  async (body) => {
    using operators = createOperators();
    const other = createServer((_, response) => response.end(body)).listen(0, '127.0.0.1');
    await once(other, 'listening');
    const place = `127.0.0.1:${(other.address() as AddressInfo).port}`;
    try {
      expect(await operators.run('status', '--at', place)).toEqual({
        code: 3,
        text: `${place} does not answer`,
      });
    } finally {
      other.close();
    }
  },
);
