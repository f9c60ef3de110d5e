export type MistakeCode = string;
