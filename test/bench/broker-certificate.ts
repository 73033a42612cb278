/**
 * The certificate that a broker of the benchmark shows: one of ECDSA P-256 under an authority of its own, like a relay's.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { issueServerCertificate, makeAuthority } from '../../fleet/certificates.ts';
import { systemClock } from '../../system/clock.ts';
import { systemRandom } from '../../system/random.ts';

/** The name in it. */
export const BROKER_NAME = 'broker.test';

/** Writes certificate.pem, key.pem and authority.pem into `directory`, and gives the last. */
export async function writeBrokerCertificate(directory: string): Promise<string> {
  const context = { random: systemRandom, wallMs: systemClock.wallMs() };
  const authority = await makeAuthority(context);
  const { certificatePem, keyPem } = await issueServerCertificate(context, authority, [BROKER_NAME]);
  writeFileSync(join(directory, 'certificate.pem'), certificatePem);
  writeFileSync(join(directory, 'key.pem'), keyPem, { mode: 0o600 });
  writeFileSync(join(directory, 'authority.pem'), authority.certificatePem);
  return authority.certificatePem;
}
