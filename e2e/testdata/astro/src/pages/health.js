// Tells how the site is, whatever its home page answers.
export const prerender = false;
export const GET = () => new Response(null, { status: 204 });
