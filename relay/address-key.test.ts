/** What addresses are counted by. */
import { expect, test } from 'vitest';
import { seededRandom } from '../system/random.ts';
import { createManualClock } from '../test/support/manual-clock.ts';
import { createAddressKey, networkOf } from './address-key.ts';

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:db8:1:2::6', '2001:db8:1:2'],
  ['2001:DB8::1', '2001:db8:0:0'],
  ['fe80::1%eth0', 'fe80:0:0:0'],
  ['::1', '0:0:0:0'],
])('%s counts as %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});

test('a name lasts an hour and says nothing of the address', () => {
  const clock = createManualClock();
  const keyOf = createAddressKey(clock, seededRandom(1));
  const first = keyOf('192.0.2.7');
  expect(first).not.toContain('192');
  expect(keyOf('192.0.2.8')).not.toBe(first);
  clock.advance(3_599_999);
  expect(keyOf('192.0.2.7')).toBe(first);
  clock.advance(1);
  expect(keyOf('192.0.2.7')).not.toBe(first);
  expect(createAddressKey(clock, seededRandom(2))('192.0.2.7')).not.toBe(first);
});
