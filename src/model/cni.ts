/** A network of a CNI configuration list (CNI specification 1.0.0, section 1). */
export interface CniNetwork {
  readonly name: string
  /** `0.4.0` */
  readonly cniVersion: string
  /** CHECK is not to be asked. */
  readonly disableCheck: boolean
  readonly plugins: readonly CniPlugin[]
}

export interface CniPlugin {
  /** Name of the program. */
  readonly type: string
  /** What of `CniCapabilities` it wants to be told. */
  readonly capabilities: readonly string[]
  /** As the file has it, without `capabilities`. */
  readonly config: Readonly<Record<string, unknown>>
}

/** What the runtime tells plugins that ask for it (CNI conventions, "Dynamic Plugin specific fields"). */
export interface CniCapabilities {
  readonly portMappings?: readonly CniPortMapping[]
  /** Bits a second, and bits. */
  readonly bandwidth?: {
    readonly ingressRate?: number
    readonly ingressBurst?: number
    readonly egressRate?: number
    readonly egressBurst?: number
  }
  /** With or without `/prefix`. */
  readonly ips?: readonly string[]
  readonly mac?: string
  readonly aliases?: readonly string[]
  readonly dns?: { readonly servers?: readonly string[]; readonly searches?: readonly string[] }
  readonly [other: string]: unknown
}

export interface CniPortMapping {
  readonly hostPort: number
  readonly containerPort: number
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  readonly hostIP?: string
}

/** What a container's network namespace has of one network: all that its plugins need to be told, in order. */
export interface CniAttachment {
  readonly network: string
  readonly cniVersion: string
  /** The link they make. */
  readonly ifName: string
  readonly disableCheck: boolean
  readonly calls: readonly CniCall[]
  /** CNI_PATH: where plugins find other plugins. */
  readonly path: string
  /** CNI_ARGS: `KEY=value` by semicolons. */
  readonly args?: string
}

export interface CniCall {
  readonly type: string
  /** Absolute path of the program. */
  readonly program: string
  /** Its configuration as JSON, but for `prevResult`. */
  readonly config: string
}

/** File of a container's directory that says what a network's plugins have made, while they have made anything. */
export function cniResultFile(index: number): string {
  return `cni${index}.json`
}

/** What ADD has made (CNI specification, "Success"), as far as it is understood here. */
export interface CniResult {
  readonly cniVersion: string
  readonly interfaces: readonly { readonly name: string; readonly mac?: string; readonly sandbox?: string }[]
  readonly ips: readonly { readonly address: string; readonly gateway?: string; readonly interface?: number }[]
  readonly routes: readonly { readonly dst: string; readonly gw?: string }[]
  readonly dns: {
    readonly nameservers?: readonly string[]
    readonly domain?: string
    readonly search?: readonly string[]
    readonly options?: readonly string[]
  }
}
