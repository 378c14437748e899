/** Words for an action in the runtime configuration (config-linux.md, Seccomp), sorted as the lists below are. */
export const SECCOMP_ACTIONS = [
  'SCMP_ACT_ALLOW',
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_KILL',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_KILL_THREAD',
  'SCMP_ACT_LOG',
  'SCMP_ACT_NOTIFY',
  'SCMP_ACT_TRACE',
  'SCMP_ACT_TRAP',
] as const

/** Words for how an argument is compared. */
export const SECCOMP_OPERATORS = [
  'SCMP_CMP_EQ',
  'SCMP_CMP_GE',
  'SCMP_CMP_GT',
  'SCMP_CMP_LE',
  'SCMP_CMP_LT',
  'SCMP_CMP_MASKED_EQ',
  'SCMP_CMP_NE',
] as const

/** Words for an ABI. Those of other processors decide nothing, and are taken since one profile is often for many. */
export const SECCOMP_ARCHITECTURES = [
  'AARCH64',
  'ARM',
  'LOONGARCH64',
  'M68K',
  'MIPS',
  'MIPS64',
  'MIPS64N32',
  'MIPSEL',
  'MIPSEL64',
  'MIPSEL64N32',
  'PARISC',
  'PARISC64',
  'PPC',
  'PPC64',
  'PPC64LE',
  'RISCV64',
  'S390',
  'S390X',
  'SH',
  'SHEB',
  'X32',
  'X86',
  'X86_64',
].map((name) => `SCMP_ARCH_${name}`)

/** Words for the flags of seccomp(2). */
export const SECCOMP_FLAGS = [
  'SECCOMP_FILTER_FLAG_LOG',
  'SECCOMP_FILTER_FLAG_SPEC_ALLOW',
  'SECCOMP_FILTER_FLAG_TSYNC',
  'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV',
] as const
