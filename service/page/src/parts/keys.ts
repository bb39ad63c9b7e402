/** Keys of the page beside those of its fields. */

/** Whether a key belongs to what has the focus: a field that is written in, a list to choose from, a dialog. */
export function isTaken(event: KeyboardEvent): boolean {
  const fields = 'dialog, select, textarea, input:not([type=range], [type=checkbox], [type=radio])';
  return (event.target as HTMLElement).closest(fields) !== null;
}
