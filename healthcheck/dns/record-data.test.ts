/**
 * Presentation format to bytes, for the records that operators write.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseRecordData } from './record-data.ts';

const hexOf = (type: string, text: string): string => {
  const parsed = parseRecordData(type, text);
  return parsed.ok ? Buffer.from(parsed.value.bytes).toString('hex') : parsed.fault;
};

test('TXT, CAA, HTTPS and any type by number', () => {
  expect(hexOf('TXT', 'ab')).toBe('026162');
  expect(hexOf('TXT', '')).toBe('00');
  expect(hexOf('TXT', 'x'.repeat(256))).toBe(`ff${'78'.repeat(255)}0178`);
  expect(hexOf('CAA', '0 issue "ca.example"')).toBe(
    `00056973737565${Buffer.from('ca.example').toString('hex')}`,
  );
  expect(hexOf('HTTPS', '1 . port=8443 alpn=h2')).toBe('000100000100030268320003000220fb');
  expect(hexOf('HTTPS', '16 other.example.')).toBe('0010056f74686572076578616d706c6500');
  expect(parseRecordData('TYPE65280', '\\# 4 0A00 0001')).toMatchObject({
    ok: true,
    value: { type: 65_280 },
  });
});

test.each([
  ['HTTPS', '1 . ipv4hint=192.0.2.1', 'leave out ipv4hint'],
  ['HTTPS', '0 other.example.', 'priority above 0'],
  ['HTTPS', '1 . no-default-alpn', 'needs alpn'],
  ['HTTPS', '1 . alpn=h2 alpn=h3', 'each once'],
  ['HTTPS', '1 other.example', 'ends with a dot'],
  ['HTTPS', `1 ${`${'x'.repeat(60)}.`.repeat(5)}`, 'ends with a dot'],
  ['CAA', 'issue ca.example', 'expected CAA data'],
  ['TYPE1', '\\# 4 0a000001', 'cannot be added by hand'],
  ['TYPE255', '\\# 0', 'cannot be added by hand'],
  ['TYPE52', '\\# 3 0a', 'the number of bytes'],
  ['MX', '10 mail.example.', 'expected TXT, CAA'],
])('%s %s is refused: %s', (type, text, why) => {
  expect(hexOf(type, text)).toContain(why);
});

test('no text makes the parser throw', () => {
  fc.assert(
    fc.property(fc.constantFrom('TXT', 'CAA', 'HTTPS', 'TYPE52', 'TYPE0'), fc.string(), (type, text) => {
      const parsed = parseRecordData(type, text);
      if (parsed.ok) expect(parsed.value.bytes.length).toBeLessThan(65_536);
    }),
  );
});
