/** A job that is being put together: photos with their tags, an archive, a table of tags. */

import type { TaggedFile } from '../api/resumable_upload';

export interface DraftPhoto {
  id: number;
  file: File;
  /** As the user calls it: with its folder, if it came in one. */
  name: string;
  tags: string[];
}

interface NamedFile {
  file: File;
  name: string;
}

/** What becomes of photos that no row of a table lists. */
export type Untagged = 'refuse' | 'model' | 'skip' | 'background';

/** From here on files go as a resumable upload. */
export const LARGE_BYTES = 128 * 1024 * 1024;
const TABLE = /\.(csv|tsv|json|jsonl|ndjson|xlsx|xls|ods)$/i;
const ARCHIVE = /\.(zip|tar|tgz|tar\.gz)$/i;
const TIFF = /\.tiff?$/i;
const HIDDEN = /(^|\/)(\.|__MACOSX|@eaDir\/|(Thumbs\.db|desktop\.ini)$)/i;

export class Draft {
  photos = $state.raw<DraftPhoto[]>([]);
  common = $state.raw<string[]>([]);
  archive = $state.raw<File | null>(null);
  manifest = $state.raw<File | null>(null);
  untagged = $state<Untagged>('refuse');
  /** Whether each page of a TIFF is a photo of its own. */
  eachPage = $state(false);
  /** Whether there may be files of many pages. */
  mayHavePages = $derived(this.archive !== null || this.photos.some((photo) => TIFF.test(photo.name)));
  empty = $derived(!this.photos.length && !this.archive);
  size = $derived(this.photos.reduce((sum, photo) => sum + photo.file.size, this.archive?.size ?? 0));
  #last = 0;

  /** Sort files into photos, archive and table of tags. What is none of them is judged by the service. */
  add(files: readonly (File | NamedFile)[]): void {
    const photos: DraftPhoto[] = [];
    for (const entry of files) {
      const { file, name } =
        entry instanceof File ? { file: entry, name: entry.webkitRelativePath || entry.name } : entry;
      if (HIDDEN.test(name)) continue;
      if (TABLE.test(name)) this.manifest = file;
      else if (ARCHIVE.test(name)) this.archive = file;
      else photos.push({ id: ++this.#last, file, name, tags: [] });
    }
    this.photos = [...this.photos, ...photos];
  }

  remove(photo: DraftPhoto): void {
    this.photos = this.photos.filter((other) => other.id !== photo.id);
  }

  clear(): void {
    this.photos = [];
    this.common = [];
    this.archive = null;
    this.manifest = null;
    this.untagged = 'refuse';
    this.eachPage = false;
  }

  setTags(photo: DraftPhoto, tags: string[]): void {
    this.photos = this.photos.map((other) => (other.id === photo.id ? { ...other, tags } : other));
  }

  /** Tags of a photo: those of all photos and its own. */
  tagsOf(photo: DraftPhoto): string[] {
    return [...new Set([...this.common, ...photo.tags])];
  }

  /** The tags of each photo that has any; of an archive, those of all its photos. */
  tagLists(): string[][] {
    const lists = this.photos.map((photo) => this.tagsOf(photo)).filter((tags) => tags.length);
    return !this.photos.length && this.common.length ? [[...this.common]] : lists;
  }

  /** Whether the photos are too many bytes for one request. */
  get large(): boolean {
    return this.size > LARGE_BYTES && !this.archive && !this.manifest;
  }

  /** The photos with their tags, for a resumable upload. */
  files(): TaggedFile[] {
    return this.photos.map((photo) => ({ file: photo.file, name: photo.name, tags: this.tagsOf(photo) }));
  }

  /**
   * The body of the request that makes the job.
   *
   * @param upload id of the resumable upload that holds the photos, or empty.
   */
  form(upload: string): FormData {
    const form = new FormData();
    if (upload) form.append('upload', upload);
    if (!upload || this.archive) {
      for (const photo of this.photos) {
        form.append('images', photo.file, photo.name);
        form.append('tags', this.tagsOf(photo).join(', '));
      }
      if (!this.photos.length && this.common.length) form.append('tags', this.common.join(', '));
      if (this.archive && !upload) form.append('archive', this.archive, this.archive.name);
    }
    if (this.eachPage && this.mayHavePages) form.append('pages', 'each');
    if (this.manifest) {
      form.append('manifest', this.manifest, this.manifest.name);
      form.append('untagged', this.untagged);
    }
    // The page says how many photos have no tags, and that the classifier finds them.
    else if (this.photos.length) form.append('untagged', 'model');
    return form;
  }
}

/** Files of a drop, those in dropped folders too. */
export async function droppedFiles(transfer: DataTransfer): Promise<(File | NamedFile)[]> {
  // The entries have to be taken before the first wait: the transfer is emptied then.
  const entries = [...transfer.items]
    .map((item) => item.webkitGetAsEntry())
    .filter((entry) => entry !== null);
  if (!entries.length) return [...transfer.files];
  const found: NamedFile[] = [];
  for (const entry of entries) await collect(entry, found);
  return found;
}

async function collect(entry: FileSystemEntry, found: NamedFile[]): Promise<void> {
  const name = entry.fullPath.replace(/^\//, '');
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    found.push({ file, name });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (!some.length) return;
    for (const inner of some) await collect(inner, found);
  }
}
