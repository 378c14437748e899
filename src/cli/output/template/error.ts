/** A template that cannot be parsed or executed; the caller says which flag it came from. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError'
}
