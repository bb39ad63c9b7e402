/** A failed request as the API tells it (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly fix: string,
  ) {
    super(fix ? `${detail} ${fix}` : detail);
  }

  static async of(response: Response): Promise<Problem> {
    return Problem.parse(response.status, await response.text());
  }

  static parse(status: number, text: string): Problem {
    try {
      const body = JSON.parse(text) as Partial<Problem>;
      return new Problem(
        status,
        body.code ?? '',
        body.detail || `The service answered ${status}.`,
        body.fix ?? '',
      );
    } catch {
      return new Problem(status, '', `The service answered ${status}.`, '');
    }
  }
}

/** One sentence for people, whatever went wrong. */
export function explain(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether an error only says that nobody waits for the answer any more. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}

/** Whether the service knows nothing of the kind, or no more. */
export function isMissing(error: unknown): error is Problem {
  return error instanceof Problem && error.status === 404;
}

/** Whether somebody else's change came first: what was sent was not put in its place. */
export function isOvertaken(error: unknown): error is Problem {
  return error instanceof Problem && error.status === 412;
}
