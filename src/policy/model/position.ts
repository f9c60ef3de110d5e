/** A place on the earth, in degrees: latitude from -90 (south) to 90, longitude from -180 (west) to 180. */
export interface Position {
  readonly latitude: number;
  readonly longitude: number;
}
