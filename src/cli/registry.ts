import type { Command } from './command.ts'
import { ARCHIVE_ENTRIES, FILE_ENTRIES } from './registry-files.ts'

/** A command as the list of commands knows it; its module is loaded when it is chosen. */
export interface Entry {
  readonly name: string
  readonly summary: string
  /** Heading in the help; `volume` and the like: a command that is only a member of that group. */
  readonly group:
    | 'Common Commands'
    | 'Management Commands'
    | 'Commands'
    | 'network'
    | 'container'
    | 'volume'
    | 'system'
    | 'image'
    | 'manifest'
  readonly load: () => Promise<Command>
}

export const ENTRIES: readonly Entry[] = [
  {
    name: 'run',
    summary: 'Create and run a new container from an image or a root directory',
    group: 'Common Commands',
    load: async () => (await import('./commands/run.ts')).runCommand,
  },
  {
    name: 'exec',
    summary: 'Run a command in a container that runs',
    group: 'Common Commands',
    load: async () => (await import('./commands/exec.ts')).execCommand,
  },
  {
    name: 'ps',
    summary: 'List containers',
    group: 'Common Commands',
    load: async () => (await import('./commands/ps.ts')).psCommand,
  },
  {
    name: 'pull',
    summary: 'Download an image from a registry',
    group: 'Common Commands',
    load: async () => (await import('./commands/pull.ts')).pullCommand,
  },
  {
    name: 'images',
    summary: 'List images',
    group: 'Common Commands',
    load: async () => (await import('./commands/images.ts')).imagesCommand,
  },
  {
    name: 'version',
    summary: 'Show the version',
    group: 'Common Commands',
    load: async () => (await import('./commands/version.ts')).versionCommand,
  },
  {
    name: 'info',
    summary: 'Show the settings in effect and where they come from',
    group: 'Common Commands',
    load: async () => (await import('./commands/info.ts')).infoCommand,
  },
  {
    name: 'doctor',
    summary: 'Check what this host can do and how to mend what it cannot',
    group: 'Commands',
    load: async () => (await import('./commands/doctor.ts')).doctorCommand,
  },
  {
    name: 'inspect',
    summary: 'Show what is known about containers and images',
    group: 'Commands',
    load: async () => (await import('./commands/inspect.ts')).inspectCommand,
  },
  {
    name: 'create',
    summary: 'Make a container without starting it',
    group: 'Commands',
    load: async () => (await import('./commands/create.ts')).createCommand,
  },
  {
    name: 'completion',
    summary: 'Print the completion script of a shell',
    group: 'Commands',
    load: async () => (await import('./commands/completion.ts')).completionCommand,
  },
  {
    name: 'generate',
    summary: 'Print units of systemd that run containers',
    group: 'Commands',
    load: async () => (await import('./commands/generate.ts')).generateCommand,
  },
  {
    name: 'start',
    summary: 'Start containers that were made or have stopped',
    group: 'Commands',
    load: async () => (await import('./commands/start.ts')).startCommand,
  },
  {
    name: 'stop',
    summary: 'Stop containers',
    group: 'Commands',
    load: async () => (await import('./commands/stop.ts')).stopCommand,
  },
  {
    name: 'restart',
    summary: 'Stop containers and start them again',
    group: 'Commands',
    load: async () => (await import('./commands/restart.ts')).restartCommand,
  },
  {
    name: 'kill',
    summary: 'Send a signal to containers',
    group: 'Commands',
    load: async () => (await import('./commands/kill.ts')).killCommand,
  },
  {
    name: 'wait',
    summary: 'Wait until containers have ended and print their exit codes',
    group: 'Commands',
    load: async () => (await import('./commands/wait.ts')).waitCommand,
  },
  {
    name: 'healthcheck',
    summary: 'Make the health check of a container now',
    group: 'Commands',
    load: async () => (await import('./commands/healthcheck.ts')).healthcheckCommand,
  },
  {
    name: 'logs',
    summary: 'Show what a detached container wrote',
    group: 'Commands',
    load: async () => (await import('./commands/logs.ts')).logsCommand,
  },
  {
    name: 'attach',
    summary: 'Connect with the streams of a detached container',
    group: 'Commands',
    load: async () => (await import('./commands/attach.ts')).attachCommand,
  },
  {
    name: 'pause',
    summary: 'Freeze all processes of containers',
    group: 'Commands',
    load: async () => (await import('./commands/pause.ts')).pauseCommand,
  },
  {
    name: 'unpause',
    summary: 'Let frozen containers go on',
    group: 'Commands',
    load: async () => (await import('./commands/pause.ts')).unpauseCommand,
  },
  {
    name: 'rename',
    summary: 'Give a container another name',
    group: 'Commands',
    load: async () => (await import('./commands/rename.ts')).renameCommand,
  },
  {
    name: 'update',
    summary: 'Change limits and restart policy of containers',
    group: 'Commands',
    load: async () => (await import('./commands/update.ts')).updateCommand,
  },
  {
    name: 'top',
    summary: 'Show the processes of a container',
    group: 'Commands',
    load: async () => (await import('./commands/top.ts')).topCommand,
  },
  {
    name: 'stats',
    summary: 'Show what containers use',
    group: 'Commands',
    load: async () => (await import('./commands/stats.ts')).statsCommand,
  },
  {
    name: 'events',
    summary: 'Show what happens, as it happens',
    group: 'Commands',
    load: async () => (await import('./commands/events.ts')).eventsCommand,
  },
  ...FILE_ENTRIES,
  {
    name: 'rm',
    summary: 'Remove containers',
    group: 'Commands',
    load: async () => (await import('./commands/rm.ts')).rmCommand,
  },
  ...ARCHIVE_ENTRIES,
  {
    name: 'rmi',
    summary: 'Remove images',
    group: 'Commands',
    load: async () => (await import('./commands/rmi.ts')).rmiCommand,
  },
  {
    name: 'container prune',
    summary: 'Remove containers that do not run',
    group: 'container',
    load: async () => (await import('./commands/system.ts')).containerPruneCommand,
  },
  {
    name: 'image prune',
    summary: 'Remove images that nobody needs',
    group: 'image',
    load: async () => (await import('./commands/system.ts')).imagePruneCommand,
  },
  {
    name: 'system check',
    summary: 'Look the whole store over, and repair it',
    group: 'system',
    load: async () => (await import('./commands/system-check.ts')).systemCheckCommand,
  },
  {
    name: 'system df',
    summary: 'Show what is on the disk',
    group: 'system',
    load: async () => (await import('./commands/system.ts')).systemDfCommand,
  },
  {
    name: 'system prune',
    summary: 'Remove what nobody needs',
    group: 'system',
    load: async () => (await import('./commands/system.ts')).systemPruneCommand,
  },
  {
    name: 'system reset',
    summary: 'Remove everything',
    group: 'system',
    load: async () => (await import('./commands/system.ts')).systemResetCommand,
  },
  {
    name: 'network connect',
    summary: 'Connect a container to one more network',
    group: 'network',
    load: async () => (await import('./commands/network-change.ts')).networkConnectCommand,
  },
  {
    name: 'network create',
    summary: 'Make a network',
    group: 'network',
    load: async () => (await import('./commands/network.ts')).networkCreateCommand,
  },
  {
    name: 'network disconnect',
    summary: 'Take a container from a network',
    group: 'network',
    load: async () => (await import('./commands/network-change.ts')).networkDisconnectCommand,
  },
  {
    name: 'network exists',
    summary: 'End with 0 where there is a network of this name, with 1 where not',
    group: 'network',
    load: async () => (await import('./commands/network.ts')).networkExistsCommand,
  },
  {
    name: 'network inspect',
    summary: 'Show what is known about networks',
    group: 'network',
    load: async () => (await import('./commands/network.ts')).networkInspectCommand,
  },
  {
    name: 'network ls',
    summary: 'List networks',
    group: 'network',
    load: async () => (await import('./commands/network.ts')).networkLsCommand,
  },
  {
    name: 'network prune',
    summary: 'Remove networks that no container has',
    group: 'network',
    load: async () => (await import('./commands/network.ts')).networkPruneCommand,
  },
  {
    name: 'network reload',
    summary: 'Make bridges and firewall rules anew',
    group: 'network',
    load: async () => (await import('./commands/network.ts')).networkReloadCommand,
  },
  {
    name: 'network rm',
    summary: 'Remove networks',
    group: 'network',
    load: async () => (await import('./commands/network.ts')).networkRmCommand,
  },
  {
    name: 'port',
    summary: 'List the ports of the host that lead to a container',
    group: 'Commands',
    load: async () => (await import('./commands/port.ts')).portCommand,
  },
  {
    name: 'volume create',
    summary: 'Make a volume',
    group: 'volume',
    load: async () => (await import('./commands/volume.ts')).volumeCreateCommand,
  },
  {
    name: 'volume exists',
    summary: 'End with 0 where there is a volume of this name, with 1 where not',
    group: 'volume',
    load: async () => (await import('./commands/volume.ts')).volumeExistsCommand,
  },
  {
    name: 'volume ls',
    summary: 'List volumes',
    group: 'volume',
    load: async () => (await import('./commands/volume.ts')).volumeLsCommand,
  },
  {
    name: 'volume prune',
    summary: 'Remove volumes that no container has',
    group: 'volume',
    load: async () => (await import('./commands/volume.ts')).volumePruneCommand,
  },
  {
    name: 'volume rm',
    summary: 'Remove volumes',
    group: 'volume',
    load: async () => (await import('./commands/volume.ts')).volumeRmCommand,
  },
  {
    name: 'push',
    summary: 'Send an image to a registry',
    group: 'Commands',
    load: async () => (await import('./commands/push.ts')).pushCommand,
  },
  {
    name: 'copy',
    summary: 'Copy an image between registries, directories and archives',
    group: 'Commands',
    load: async () => (await import('./commands/push.ts')).copyCommand,
  },
  {
    name: 'login',
    summary: 'Log in to a registry',
    group: 'Commands',
    load: async () => (await import('./commands/login.ts')).loginCommand,
  },
  {
    name: 'logout',
    summary: 'Forget the login of a registry',
    group: 'Commands',
    load: async () => (await import('./commands/login.ts')).logoutCommand,
  },
  {
    name: 'search',
    summary: 'Look for images in a registry',
    group: 'Commands',
    load: async () => (await import('./commands/search.ts')).searchCommand,
  },
  {
    name: 'manifest inspect',
    summary: 'Show the manifest or index a registry has for a name',
    group: 'manifest',
    load: async () => (await import('./commands/manifest.ts')).manifestInspectCommand,
  },
]
