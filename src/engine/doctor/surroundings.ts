import type { DoctorCheck } from '../api.ts'
import type { HostReport } from './report.ts'

/** The terminal, certificates, and programs that networks will need. */
export function surroundingChecks(report: HostReport): DoctorCheck[] {
  return [
    terminal(report),
    certificates(report),
    program(report, 'nft', 'nftables', 'bridge networks and published ports'),
    program(report, 'pasta', 'passt', 'networks of ordinary users, which this version does not have yet'),
  ]
}

function terminal({ filesystems, terminal: { input, output } }: HostReport): DoctorCheck {
  const name = 'terminal'
  if (!/\bdevpts$/m.test(filesystems)) {
    const remedy = 'use a kernel with CONFIG_UNIX98_PTYS=y'
    return { name, result: 'fail', detail: 'this kernel has no pseudo terminals', remedy }
  }
  if (input && output) return { name, result: 'ok', detail: 'this is one: run -it works here' }
  return {
    name,
    result: 'ok',
    detail: `standard ${input ? 'output' : 'input'} is none: run -it is refused here`,
    remedy: 'for -it: ssh -t HOST ..., or in a pipeline leave -t out',
  }
}

function certificates({ certificates: { bundle, dangling } }: HostReport): DoctorCheck {
  const name = 'certificates'
  if (dangling.length > 0) {
    const detail = dangling.map(({ variable, path }) => `${variable} names ${path}, which is not there`).join('; ')
    return {
      name,
      result: 'warn',
      detail,
      remedy: `unset ${dangling.map(({ variable }) => variable).join(' ')}, or name a file in PEM format`,
    }
  }
  if (bundle !== undefined) return { name, result: 'ok', detail: `Node's own and ${bundle}` }
  return {
    name,
    result: 'ok',
    detail: "only Node's own: registries with a company's certificate are not trusted",
    remedy: 'apt-get install ca-certificates, and update-ca-certificates for certificates of your own',
  }
}

function program({ programs }: HostReport, name: 'nft' | 'pasta', debianPackage: string, purpose: string): DoctorCheck {
  const path = programs[name]
  if (path !== undefined) return { name, result: 'ok', detail: path }
  return {
    name,
    result: 'ok',
    detail: `not installed; only for ${purpose}`,
    remedy: `apt-get install ${debianPackage}`,
  }
}
