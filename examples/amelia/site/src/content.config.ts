import { defineCollection, z } from 'astro:content';
import { glob } from 'astro/loaders';

const pieces = defineCollection({
  loader: glob({ pattern: '*.md', base: './src/content/pieces' }),
  schema: ({ image }) =>
    z.object({
      name: z.string(),
      kind: z.enum(['For the table', 'For flowers', 'For the morning']),
      price: z.number(),
      size: z.string(),
      clay: z.string(),
      glaze: z.string(),
      picture: image(),
      alt: z.string(),
      left: z.number().default(6),
      order: z.number(),
    }),
});

export const collections = { pieces };
