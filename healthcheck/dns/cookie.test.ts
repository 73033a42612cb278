/**
 * Cookies, against the vectors of RFC 9018 (appendix A) and of SipHash's authors.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { answerCookie, COOKIE_BYTES } from './cookie.ts';
import { sipHash24 } from './siphash.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));
const SECRET = hex('e5e973e5a6b2a43f48e7dc849e37bfcf');
const SOURCE = Uint8Array.of(198, 51, 100, 100);
const MADE_AT = 1_559_731_985;
const COOKIE = hex('2464c4abcf10c957010000005cf79f111f8130c3eee29480');

interface Answered {
  readonly isOurs: boolean;
  readonly cookie: string;
}

function answer(
  given: Uint8Array,
  over: { nowSeconds?: number; source?: Uint8Array; secrets?: Uint8Array[] } = {},
): Answered {
  const out = new Uint8Array(COOKIE_BYTES);
  const context = { source: SOURCE, nowSeconds: MADE_AT, secrets: [SECRET], ...over };
  const isOurs = answerCookie(given, 0, given.length, context, out);
  return { isOurs, cookie: Buffer.from(out).toString('hex') };
}

test('SipHash-2-4 gives what its authors publish', () => {
  const key = Uint8Array.from({ length: 16 }, (_, index) => index);
  const hashOf = (length: number): string => {
    const out = new Uint8Array(8);
    sipHash24(
      key,
      Uint8Array.from({ length }, (_, index) => index),
      length,
      out,
      0,
    );
    return Buffer.from(out).toString('hex');
  };
  expect([0, 1, 7, 8, 15, 63].map(hashOf)).toStrictEqual([
    '310e0edd47db6f72',
    'fd67dc93c539f874',
    '37d1018bf50002ab',
    '6224939a79f5f593',
    'e545be4961ca29a1',
    '724506eb4c328a95',
  ]);
});

test('a first cookie is the one of RFC 9018', () => {
  expect(answer(hex('2464c4abcf10c957'))).toStrictEqual({
    isOurs: false,
    cookie: Buffer.from(COOKIE).toString('hex'),
  });
});

test('our cookie is known again for an hour, and a new one is given after half of it', () => {
  const again = Buffer.from(COOKIE).toString('hex');
  expect(answer(COOKIE)).toStrictEqual({ isOurs: true, cookie: again });
  expect(answer(COOKIE, { nowSeconds: MADE_AT + 1800 })).toStrictEqual({ isOurs: true, cookie: again });
  const renewed = answer(COOKIE, { nowSeconds: MADE_AT + 1801 });
  expect(renewed.isOurs).toBe(true);
  expect(renewed.cookie).not.toBe(again);
  expect(answer(COOKIE, { nowSeconds: MADE_AT + 3600 }).isOurs).toBe(true);
  expect(answer(COOKIE, { nowSeconds: MADE_AT + 3601 }).isOurs).toBe(false);
  expect(answer(COOKIE, { nowSeconds: MADE_AT - 300 }).isOurs).toBe(true);
  expect(answer(COOKIE, { nowSeconds: MADE_AT - 301 }).isOurs).toBe(false);
});

test('an IPv6 address is bound to its cookie as in RFC 9018', () => {
  const source = hex('20010db8022000015 9ded0f4876982b8'.replace(' ', ''));
  const secrets = [hex('445536bcd2513298075a5d379663c962')];
  const given = answer(hex('22681ab97d52c298'), { source, secrets, nowSeconds: 0x5c_f7_c6_09 });
  expect(given.cookie).toBe('22681ab97d52c298010000005cf7c609a6bb79d16625507a');
});

test('a secret that was replaced is still good, and makes no new cookies', () => {
  const newer = hex('00112233445566778899aabbccddeeff');
  expect(answer(COOKIE, { secrets: [newer, SECRET] }).isOurs).toBe(true);
  const renewed = hex(answer(COOKIE, { secrets: [newer, SECRET], nowSeconds: MADE_AT + 2000 }).cookie);
  expect(answer(renewed, { secrets: [newer], nowSeconds: MADE_AT + 2000 }).isOurs).toBe(true);
});

test('a cookie is good for one address, one client and only as it was made', () => {
  expect(answer(COOKIE, { source: Uint8Array.of(198, 51, 100, 101) }).isOurs).toBe(false);
  fc.assert(
    fc.property(fc.nat({ max: COOKIE_BYTES - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const forged = Uint8Array.from(COOKIE);
      forged[at] = (forged[at] ?? 0) ^ change;
      expect(answer(forged).isOurs).toBe(false);
    }),
  );
});
