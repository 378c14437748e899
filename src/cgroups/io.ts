import type { OciResources, ThrottleDevice } from '../model/config.ts'
import { type CgroupWrite, checkedNumber, deviceText } from './writes.ts'

type BlockIo = NonNullable<OciResources['blockIO']>

/** Writes for disk weights (10 to 1000) and rates (bytes or operations a second, 0 no limit) by device. */
export function ioWrites(blockIO: BlockIo): CgroupWrite[] {
  const weights: CgroupWrite[] = []
  if (blockIO.weight) weights.push(weightWrite('', blockIO.weight))
  for (const device of blockIO.weightDevice ?? []) {
    if (device.weight) weights.push(weightWrite(`${deviceText(device)} `, device.weight))
  }
  return [...weights, ...rateWrites(blockIO)]
}

/**
 * BFQ's own file where that scheduler is loaded, since the general one has no effect on its disks; its range is the
 * one asked in. io.weight goes from 1 to 10000 with default 100.
 */
function weightWrite(device: string, weight: number): CgroupWrite {
  checkedNumber('blkio weight', weight, { lowest: 10, highest: 1000 })
  const general = 1 + Math.floor(((weight - 10) * 9999) / 990)
  return {
    controller: 'io',
    file: 'io.bfq.weight',
    value: `${device}${weight}`,
    orElse: { file: 'io.weight', value: `${device === '' ? 'default ' : device}${general}` },
  }
}

const RATES = {
  throttleReadBpsDevice: 'rbps',
  throttleWriteBpsDevice: 'wbps',
  throttleReadIOPSDevice: 'riops',
  throttleWriteIOPSDevice: 'wiops',
} as const satisfies Partial<Record<keyof BlockIo, string>>

/** One line a device: io.max keeps what a line does not name. */
function rateWrites(blockIO: BlockIo): CgroupWrite[] {
  const lines = new Map<string, string[]>()
  for (const [key, word] of Object.entries(RATES) as [keyof typeof RATES, string][]) {
    for (const device of blockIO[key] ?? []) {
      const name = deviceText(device)
      lines.set(name, [...(lines.get(name) ?? []), `${word}=${rateText(device)}`])
    }
  }
  return [...lines].map(([device, words]) => ({
    controller: 'io',
    file: 'io.max',
    value: `${device} ${words.join(' ')}`,
  }))
}

function rateText({ rate }: ThrottleDevice): string {
  return checkedNumber('device rate', rate) === 0 ? 'max' : String(rate)
}
