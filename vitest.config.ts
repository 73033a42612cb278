/**
 * What `npm test` runs: first the unit tests beside their subjects, two files at a time; then what starts real
 * processes and mostly waits for them (a fault to end, a certificate, a machine to boot), two at a time; then, one
 * file after the other, what also looks at how quickly fleets answer, because two of those on the two cores of the
 * reference machine would measure each other.
 */
import { defineConfig, type ViteUserConfig } from 'vitest/config';

const processes = ['test/{integration,browser}/**/*.test.ts'];
const patient = [
  'test/integration/{acme,acme-refusals,boot,drill,drill-mutants,first-deployment,manifest,operators,release}.test.ts',
];

const config: ViteUserConfig = defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 30_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['{system,fleet,relay,healthcheck,client,infra,test}/**/*.test.ts'],
          exclude: processes,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'patient',
          include: patient,
          maxWorkers: 2,
          maxConcurrency: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'processes',
          include: processes,
          exclude: patient,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});

export default config;
