/** The part of the WebAssembly interface that is used here: the types of Node do not have it, and those of browsers bring a window along. */
declare namespace WebAssembly {
  // eslint-disable-next-line typescript/no-extraneous-class -- it is a class
  class Module {
    constructor(bytes: Uint8Array<ArrayBuffer>);
  }
  interface Memory {
    readonly buffer: ArrayBuffer;
    /** By so many times 64 KiB; `buffer` is another one then. */
    grow(pages: number): number;
  }
  class Instance {
    constructor(module: Module);
    readonly exports: Readonly<Record<string, unknown>>;
  }
}
