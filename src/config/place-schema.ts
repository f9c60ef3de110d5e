import { z } from "zod";
import type { Position } from "../policy/model/position.ts";
import { number, text } from "./leaf.ts";
import * as check from "./text-checks.ts";

// Where clients and backends are.

const off = z.literal(false);
const latitude = number({ min: -90, max: 90 });
const longitude = number({ min: -180, max: 180 });

const fieldName = text(check.headerName).transform((name) => name.toLowerCase());

const headers = z
  .strictObject({
    latitude: fieldName.optional().describe("Field that holds the latitude in degrees, such as `52.5`."),
    longitude: fieldName.optional().describe("Field that holds the longitude in degrees, such as `13.4`."),
    geo: fieldName
      .optional()
      .describe("Instead of the two: field that holds both as a `geo:` URI (RFC 5870), such as `geo:52.5,13.4`."),
  })
  .meta({ oneOf: [{ required: ["latitude", "longitude"] }, { required: ["geo"] }] })
  // Whether it is the pair or the one is seen to by the checks between the parts.
  .transform(({ latitude, longitude, geo }) =>
    geo === undefined
      ? { kind: "pair" as const, latitude: latitude ?? "", longitude: longitude ?? "" }
      : { kind: "geo" as const, name: geo },
  );

/** `clientPosition` of a listener. */
export const clientPosition = z
  .union([
    off,
    z.strictObject({
      headers: headers
        .optional()
        .describe("Fields of the request that say where its client is. Believed only from `trustedProxies`."),
      geoip: text(check.databasePath)
        .optional()
        .describe(
          "A database in MaxMind's format that tells where an address is, such as `city.mmdb`. It is read anew when it changes.",
        ),
      default: z
        .strictObject({
          latitude: latitude.describe("Degrees from -90 (south) to 90."),
          longitude: longitude.describe("Degrees from -180 (west) to 180."),
        })
        .optional()
        .describe("Where a client is taken to be of which nothing else tells."),
    }),
  ])
  .transform((value) =>
    value === false
      ? value
      : { headers: value.headers, geoip: value.geoip, default: value.default satisfies Position | undefined },
  );

/** `location` of a backend. */
export const location = z
  .strictObject({
    latitude: latitude.optional().describe("Degrees from -90 (south) to 90; only with `longitude`."),
    longitude: longitude.optional().describe("Degrees from -180 (west) to 180; only with `latitude`."),
    region: text(check.name)
      .optional()
      .describe("Name of the region it stands in, for metrics and an order of regions."),
  })
  .meta({ dependentRequired: { latitude: ["longitude"], longitude: ["latitude"] } })
  .transform(({ latitude, longitude, region = "" }) => ({
    position: latitude === undefined || longitude === undefined ? undefined : ({ latitude, longitude } as Position),
    region,
  }));
