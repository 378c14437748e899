import type { LimitOptions, RunOptions } from '../model/run-options.ts'
import type { OciDevice, OciDeviceRule, OciResources, ThrottleDevice } from '../model/config.ts'
import { DEFAULT_DEVICE_RULES } from '../cgroups/devices.ts'
import { TscrunError } from '../model/errors.ts'

type ResolveDevice = (path: string) => { readonly major: number; readonly minor: number }

const CPU_PERIOD = 100_000

/** The flags of `tscrun run` as the OCI config counts them. Throws USAGE for two that exclude each other. */
export function limitsToResources(
  options: RunOptions,
  devices: readonly OciDevice[],
  resolve: ResolveDevice,
): OciResources {
  const memory = memoryOf(options)
  const cpu = cpuOf(options)
  const blockIO = blockIoOf(options, resolve)
  return {
    ...(options.privileged === true ? {} : { devices: deviceRules(options, devices) }),
    ...(memory === undefined ? {} : { memory }),
    ...(cpu === undefined ? {} : { cpu }),
    ...(options.pidsLimit === undefined ? {} : { pids: { limit: options.pidsLimit } }),
    ...(blockIO === undefined ? {} : { blockIO }),
    ...(options.cgroupConf === undefined ? {} : { unified: options.cgroupConf }),
  }
}

function memoryOf(options: LimitOptions): OciResources['memory'] {
  const { memory, memorySwap, memoryReservation } = options
  if (memory === undefined && memorySwap === undefined && memoryReservation === undefined) return undefined
  if (memorySwap !== undefined && memorySwap !== -1 && memory === undefined) {
    throw new TscrunError('USAGE', '--memory-swap: it counts memory and swap together and needs --memory', {
      subject: '--memory-swap',
      hint: 'add --memory',
    })
  }
  // Without --memory-swap as much swap as memory, as docker and podman have it.
  const swap = memorySwap ?? (memory === undefined ? undefined : memory * 2)
  return {
    ...(memory === undefined ? {} : { limit: memory }),
    ...(swap === undefined ? {} : { swap }),
    ...(memoryReservation === undefined ? {} : { reservation: memoryReservation }),
  }
}

function cpuOf(options: LimitOptions): OciResources['cpu'] {
  const { cpus, cpuQuota, cpuPeriod, cpuShares, cpusetCpus, cpusetMems } = options
  if (cpus !== undefined && (cpuQuota !== undefined || cpuPeriod !== undefined)) {
    throw new TscrunError('USAGE', '--cpus: it excludes --cpu-quota and --cpu-period', {
      subject: '--cpus',
      hint: 'use one or the other',
    })
  }
  const cpu = {
    ...(cpus === undefined ? {} : { quota: Math.round(cpus * CPU_PERIOD), period: CPU_PERIOD }),
    ...(cpuQuota === undefined ? {} : { quota: cpuQuota }),
    ...(cpuPeriod === undefined ? {} : { period: cpuPeriod }),
    ...(cpuShares === undefined ? {} : { shares: cpuShares }),
    ...(cpusetCpus === undefined ? {} : { cpus: cpusetCpus }),
    ...(cpusetMems === undefined ? {} : { mems: cpusetMems }),
  }
  return Object.keys(cpu).length === 0 ? undefined : cpu
}

function blockIoOf(options: LimitOptions, resolve: ResolveDevice): OciResources['blockIO'] {
  const rates = (list: LimitOptions['deviceReadBps']): ThrottleDevice[] | undefined =>
    list?.map((item) => ({ ...resolve(item.path), rate: item.rate }))
  const [readBps, writeBps] = [rates(options.deviceReadBps), rates(options.deviceWriteBps)]
  const [readIops, writeIops] = [rates(options.deviceReadIops), rates(options.deviceWriteIops)]
  const io = {
    ...(options.blkioWeight === undefined ? {} : { weight: options.blkioWeight }),
    ...(readBps === undefined ? {} : { throttleReadBpsDevice: readBps }),
    ...(writeBps === undefined ? {} : { throttleWriteBpsDevice: writeBps }),
    ...(readIops === undefined ? {} : { throttleReadIOPSDevice: readIops }),
    ...(writeIops === undefined ? {} : { throttleWriteIOPSDevice: writeIops }),
  }
  return Object.keys(io).length === 0 ? undefined : io
}

/** Everything denied, then what every container may use, then what was asked for (config-linux.md, allowed devices). */
function deviceRules(options: RunOptions, devices: readonly OciDevice[]): OciDeviceRule[] {
  const rules: OciDeviceRule[] = [{ allow: false, access: 'rwm' }, ...DEFAULT_DEVICE_RULES]
  for (const [index, device] of devices.entries()) {
    const access = options.devices?.[index]?.access ?? 'rwm'
    if (device.type === 'p' || device.major === undefined || device.minor === undefined) continue
    rules.push({ allow: true, type: device.type === 'b' ? 'b' : 'c', major: device.major, minor: device.minor, access })
  }
  for (const text of options.deviceCgroupRules ?? []) rules.push(parseDeviceRule(text))
  return rules
}

/** `c 10:200 rwm`, `a *:* rwm` (docker-run(1), --device-cgroup-rule). */
function parseDeviceRule(text: string): OciDeviceRule {
  const match = /^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$/.exec(text)
  if (match === null) {
    throw new TscrunError('USAGE', `--device-cgroup-rule ${JSON.stringify(text)}: not a rule`, {
      subject: text,
      hint: 'write it as "c 10:200 rwm"',
    })
  }
  const [, type, major, minor, access] = match
  return {
    allow: true,
    type: type as 'a' | 'b' | 'c',
    ...(major === '*' ? {} : { major: Number(major) }),
    ...(minor === '*' ? {} : { minor: Number(minor) }),
    access: access ?? 'rwm',
  }
}
