import type { OciSeccomp } from '../../model/config.ts'

const ENOSYS = 38
const CLONE_THREAD = 0x10000

/**
 * What writing files never needs: other programs, other processes, sockets, mounts, namespaces, the kernel's own matters.
 * A list of what is denied: which calls Node and the C library make besides differs from version to version.
 */
const DENIED = (
  'execve execveat fork vfork ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_open pidfd_getfd ' +
  'pidfd_send_signal kill rt_sigqueueinfo rt_tgsigqueueinfo socket socketpair connect bind listen accept accept4 ' +
  'mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr open_tree_attr ' +
  'unshare setns open_by_handle_at name_to_handle_at quotactl quotactl_fd fanotify_init bpf perf_event_open ' +
  'userfaultfd io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key init_module finit_module ' +
  'delete_module kexec_load kexec_file_load reboot swapon swapoff acct settimeofday clock_settime clock_adjtime ' +
  'adjtimex sethostname setdomainname syslog vhangup personality ioperm iopl modify_ldt lookup_dcookie ' +
  'memfd_create memfd_secret move_pages migrate_pages mbind set_mempolicy setuid setgid setreuid setregid setresuid ' +
  'setresgid setgroups setfsuid setfsgid capset'
).split(' ')

/** The extractor's seccomp profile. Its program is made beforehand: filter-bytes.ts, written by a test. */
export const EXTRACTOR_PROFILE: OciSeccomp = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [
    { names: DENIED, action: 'SCMP_ACT_ERRNO' },
    // Threads are made by it, too; its flags lie in memory, where no filter sees them, and the C library then takes clone.
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
    {
      names: ['clone'],
      action: 'SCMP_ACT_ERRNO',
      args: [{ index: 0, value: CLONE_THREAD, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
    },
  ],
}
