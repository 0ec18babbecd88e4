export const GET = () => Response.json({ say: 'noon' });
