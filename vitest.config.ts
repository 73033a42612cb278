/**
 * What `npm test` runs: unit tests beside their subjects, and everything under test/ that starts real processes.
 *
 * Files run one after the other in two workers at most: many of them start Redis servers, relays and
 * nameservers of their own, and a machine with two cores is the reference.
 */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{system,fleet,relay,healthcheck,client,infra,test}/**/*.test.ts'],
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
});
