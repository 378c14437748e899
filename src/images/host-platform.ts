import type { Platform } from '../model/image.ts'
import { platformOfArch } from '../model/platform.ts'

/** The platform whose images this machine runs. */
export function hostPlatform(): Platform {
  return platformOfArch(process.arch)
}
