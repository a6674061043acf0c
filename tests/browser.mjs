// Opens a page in a headless browser, waits until it is done, and prints what an expression gives, as JSON.
// node browser.mjs PUPPETEER CHROMIUM ADDRESS EXPRESSION [SCREENSHOT]; PUPPETEER is the module of puppeteer-core.
const [puppeteer, chromium, address, expression, screenshot] = process.argv.slice(2);
const { default: driver } = await import(puppeteer);
const browser = await driver.launch({
  executablePath: chromium, headless: true, protocolTimeout: 500000,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
try {
  const page = await browser.newPage();
  page.on("console", message => console.error(message.text()));
  page.on("pageerror", error => console.error(String(error)));
  await page.setViewport({ width: 1180, height: 860 });
  await page.goto(address, { timeout: 300000 });
  await page.waitForFunction("document.body.dataset.done === 'yes'", { timeout: 450000, polling: 500 });
  console.log(JSON.stringify(await page.evaluate(expression)));
  if (screenshot) await page.screenshot({ path: screenshot });
} finally {
  await browser.close();
}
