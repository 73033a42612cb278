/**
 * What `npm test` runs: first the unit tests beside their subjects, two files at a time; then, one file after the
 * other, what starts fleets of real processes and measures how they behave, because two such fleets on the two
 * cores of the reference machine would measure each other.
 */
import { defineConfig, type ViteUserConfig } from 'vitest/config';

const processes = ['test/{integration,browser}/**/*.test.ts'];

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
        test: { name: 'processes', include: processes, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});

export default config;
