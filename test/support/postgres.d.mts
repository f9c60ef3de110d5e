export interface Installation {
  readonly postgres: string;
  readonly initdb: string;
  readonly account: { readonly uid: number; readonly gid: number } | undefined;
}

export function findPostgres(): Installation | string;

export class Postgres {
  readonly address: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly password: string;
    readonly database: string;
  };
  static start(installation: Installation): Promise<Postgres>;
  start(): Promise<void>;
  stop(): Promise<void>;
  remove(): Promise<void>;
}
