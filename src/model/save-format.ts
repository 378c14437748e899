/** What images can be saved as; podman's names. */
export const SAVE_FORMATS = ['docker-archive', 'oci-archive', 'oci-dir', 'docker-dir'] as const
export type SaveFormat = (typeof SAVE_FORMATS)[number]
