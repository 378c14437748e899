import { TscrunError } from '../../model/errors.ts'

/** The ABIs one kernel build can be called by, each with its own system call numbers. */
export type FilterArch = 'x86_64' | 'x86' | 'x32' | 'aarch64' | 'arm'

/** Node's names of the processors tscrun runs on. */
export type HostArch = 'x64' | 'arm64'

/** What the kernel shows a filter as `arch` (linux/audit.h); x32 is told apart by a bit in the number instead. */
export const AUDIT_ARCH = {
  x86_64: 0xc000003e,
  x86: 0x40000003,
  aarch64: 0xc00000b7,
  arm: 0x40000028,
} as const satisfies Record<Exclude<FilterArch, 'x32'>, number>

/** The name of an ABI in the runtime configuration (config-linux.md, seccomp). */
export const OCI_ARCH = {
  x86_64: 'SCMP_ARCH_X86_64',
  x86: 'SCMP_ARCH_X86',
  x32: 'SCMP_ARCH_X32',
  aarch64: 'SCMP_ARCH_AARCH64',
  arm: 'SCMP_ARCH_ARM',
} as const satisfies Record<FilterArch, string>

const FAMILIES: { readonly [host in HostArch]: readonly FilterArch[] } = {
  x64: ['x86_64', 'x86', 'x32'],
  arm64: ['aarch64', 'arm'],
}

/** Processors the specification names whose calls can never reach a kernel tscrun runs on. */
const FOREIGN =
  /^SCMP_ARCH_(MIPS|MIPS64|MIPS64N32|MIPSEL|MIPSEL64|MIPSEL64N32|PPC|PPC64|PPC64LE|S390|S390X|PARISC|PARISC64|RISCV64|LOONGARCH64|M68K|SH|SHEB)$/

/**
 * The ABIs a filter for `host` answers for: its own, always, and the listed ones of its family; those of other
 * processors are ignored. Throws INVALID_CONFIG for a name the specification does not have.
 */
export function filterArches(host: HostArch, listed: readonly string[]): readonly FilterArch[] {
  const family = FAMILIES[host]
  const all = Object.values<string>(OCI_ARCH)
  for (const name of listed) {
    if (!all.includes(name) && !FOREIGN.test(name)) {
      throw new TscrunError('INVALID_CONFIG', `seccomp architecture ${JSON.stringify(name)}: no such architecture`, {
        subject: name,
      })
    }
  }
  return family.filter((arch, index) => index === 0 || listed.includes(OCI_ARCH[arch]))
}
