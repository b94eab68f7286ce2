import { Alert, DescriptionList, DescriptionListItem, Flex, Heading, List, Text } from '@hubspot/ui-extensions';

import { settings } from './settings.js';

/** What this app writes and hears of, as it was when the project was written. Nothing is set here. */
export function About() {
  return (
    <Flex direction="column" gap="md">
      <Heading>Leadlight predictions</Heading>
      <Text>
        Leadlight learns on your own machine and writes its predictions into the contact properties below; it writes
        nothing else. Goal, limits and caps are set in its leadlight.toml, not here.
      </Text>
      {settings.watched === null && (
        <Alert title="No webhooks" variant="info">
          Contacts are rescored on schedule only: this project was written without the address of a running service.
        </Alert>
      )}
      <DescriptionList direction="column">
        <DescriptionListItem label="Predicts">
          <Text>{settings.goal ?? 'Not trained yet when this project was written'}</Text>
        </DescriptionListItem>
        <DescriptionListItem label="Models when this project was written">
          <Text>{settings.models.length === 0 ? 'none' : settings.models.join(', ')}</Text>
        </DescriptionListItem>
      </DescriptionList>
      <Names title="Properties it writes" names={Object.values(settings.fields)} />
      <Names title="Changes it hears of by webhook" names={settings.watched ?? []} />
    </Flex>
  );
}

function Names({ title, names }: { title: string; names: string[] }) {
  if (names.length === 0) {
    return null;
  }
  return (
    <Flex direction="column" gap="xs">
      <Text format={{ fontWeight: 'demibold' }}>{title}</Text>
      <List variant="unordered-styled">
        {names.map((name) => (
          <Text key={name}>{name}</Text>
        ))}
      </List>
    </Flex>
  );
}
