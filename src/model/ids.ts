/** Ids of one user namespace: as many as a 16-bit system has. `native/plan.h` says the same. */
export const RANGE_SIZE = 65536
