/** Settings whose bounds are not numbers; tests of whole environments are in test/integration/relay-settings.test.ts. */
import { expect, test } from 'vitest';
import { RELAY_SETTINGS } from './config.ts';

test.each<[string, boolean]>([
  ['message/mls', true],
  ['message/mls,application/octet-stream', true],
  [`application/${'x'.repeat(52)}`, true],
  // A message has no room for the name of its type beyond 64 characters, so it would be refused for ever.
  [`application/${'x'.repeat(53)}`, false],
  [`message/mls,application/${'x'.repeat(53)}`, false],
  [`application/${'x'.repeat(53)},message/mls`, false],
  ['message/mls,', false],
  ['Message/MLS', false],
  ['mls', false],
])('types of ciphertext: %s is taken: %s', (text, expected) => {
  expect(RELAY_SETTINGS.RELAY_CIPHERTEXT_TYPES.parse(text)).toBe(expected ? text : undefined);
});
